"""Reading data: alphabets, sequence stores, intervals, labels, samplers, loaders."""
