"""Evaluator: TFMA's inference and output, combined by batch and slice.

Importing this package, or its plain modules, imports neither TFX nor TensorFlow.
"""
