"""Feature map: where samples lie among real patches."""
