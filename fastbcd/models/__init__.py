"""The trained network, and the model that users save, load and predict with."""
