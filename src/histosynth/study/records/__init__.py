"""The study database and the rules by which readings enter it."""
