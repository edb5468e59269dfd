"""The report: synthetic against real patches, as a page for people and as JSON for machines."""
