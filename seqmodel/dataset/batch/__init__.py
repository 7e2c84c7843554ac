"""Samples to batches: their order, their windows, how they are read and handed out."""
