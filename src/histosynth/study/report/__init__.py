"""The report of a reader study."""
