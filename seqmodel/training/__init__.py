"""One run on this machine: the trainer, its callbacks, what is saved, shown and logged."""
