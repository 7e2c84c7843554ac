"""Train and test on this host: the trainer, its callbacks, and what runs save, print and log."""
