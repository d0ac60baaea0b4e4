"""RunRecord: what a run came to, in one artifact."""
