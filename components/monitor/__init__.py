"""What a served model does after its release."""
