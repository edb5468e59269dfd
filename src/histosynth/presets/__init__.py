"""Named sets of settings."""
