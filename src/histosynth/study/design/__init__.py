"""The design of a study: its size, its cases, their order and their images."""
