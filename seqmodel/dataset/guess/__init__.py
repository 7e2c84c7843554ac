"""What the settings of a run are for a file of which only the path is given: see reading.py."""
