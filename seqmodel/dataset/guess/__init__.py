"""Guess the settings of a run from the path of a file; see reading.py."""
