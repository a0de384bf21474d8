"""The trained network, and the model that a user saves, loads and predicts with."""
