"""One linear loop, counted in images; the same command resumes it."""
