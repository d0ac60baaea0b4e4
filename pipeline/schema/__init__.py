"""JSON schemas of what users write (`config`) and of what a run leaves (`summary`)."""
