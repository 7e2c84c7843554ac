"""One run on this host: the trainer, its callbacks, what is saved, shown and logged."""
