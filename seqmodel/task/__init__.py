"""Tasks: what a model learns, with its loss, metrics and optimiser. The last step before a run."""
