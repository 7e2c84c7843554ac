"""One run on this host: the trainer, its callbacks, and what it saves, shows and logs."""
