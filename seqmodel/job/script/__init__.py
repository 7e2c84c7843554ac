"""The scripts of jobs: templates, the values that fill them, the functions of the node."""
