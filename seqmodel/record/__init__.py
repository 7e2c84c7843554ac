"""What a run leaves behind: its folder, the state of its code, its checkpoints."""
