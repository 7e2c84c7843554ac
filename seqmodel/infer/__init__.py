"""What a trained model is used for: it is loaded from its checkpoint, without any training data."""
