"""GroupSizeValidator: refuses checks that groups of this size can never pass."""
