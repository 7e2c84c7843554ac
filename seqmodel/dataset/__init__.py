"""What is read: alphabets, sequence stores, intervals, labels, samplers, loaders."""
