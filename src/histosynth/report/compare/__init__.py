"""Models side by side: reports of the same real patches in the tables of a paper."""
