"""The algorithms of the paper, and mini-batch training with the same blocks."""
