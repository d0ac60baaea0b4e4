"""InvarianceValidator: decides whether a model's invariance is shown.

Nothing is imported here: `checks` and `decision` work without TFX.
"""
