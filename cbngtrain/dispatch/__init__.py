"""Places where steps run."""
