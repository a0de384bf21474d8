"""Checkpoints: the data by which a stopped run goes on as if it had not stopped."""
