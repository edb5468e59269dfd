"""From slides and outlines to a patch store."""
