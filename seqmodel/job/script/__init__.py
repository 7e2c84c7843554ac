"""The scripts of jobs: templates, their values, and the functions of the node."""
