"""Pusher: TFX's, with one atomic appearance and no digest pushed twice."""
