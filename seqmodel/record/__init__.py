"""The record of a run: its folder, the state of its code, its checkpoints."""
