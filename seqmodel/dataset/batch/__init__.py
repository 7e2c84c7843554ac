"""From samples to batches: order, windows, reading and loading."""
