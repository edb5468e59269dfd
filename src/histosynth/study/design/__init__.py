"""The design of a study: its size, its cases, their orders and their pictures."""
