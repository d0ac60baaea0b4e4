"""The pipeline: what runs, and where."""
