"""What to predict: tables, labels, tracks, and the arrays that are kept of them."""
