"""The model card: what a released model is, for those who meet it without its run."""
