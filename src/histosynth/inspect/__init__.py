"""What a path holds, and what this machine offers."""
