"""`python -m histosynth`: the command line."""

from histosynth.cli import main

main()
