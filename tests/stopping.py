"""A run that ends early, as after a signal."""

from fastbcd.callbacks import Callback


class StopAfter(Callback):
    """Ends the run after an iteration or pass."""

    def __init__(self, iteration):
        self.iteration = iteration

    def on_iteration(self, solver, state, record):
        return record["iteration"] >= self.iteration
