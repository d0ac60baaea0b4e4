"""SourceManifest: which files a run reads, and what was in them."""
