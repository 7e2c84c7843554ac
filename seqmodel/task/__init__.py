"""Tasks: what is learned, its loss, its metrics, its optimiser. Last in the flow before a run."""
