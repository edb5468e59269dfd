"""From a run to synthetic patches."""
