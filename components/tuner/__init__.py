"""Tuner: TFX's, with every trial's figures on the artifact."""
