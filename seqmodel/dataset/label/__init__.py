"""Prediction targets: tables, labels, tracks, and their cached arrays."""
