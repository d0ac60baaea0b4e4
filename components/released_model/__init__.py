"""ReleasedModel: the latest blessed model, where nothing resolves it."""
