"""Trainer: TFX's, with the method as a parameter of a run."""
