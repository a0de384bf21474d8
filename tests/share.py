"""The share of slow tests with many cases that CI runs."""

import os


def share(cases, at_most=None):
    """All of `cases`, or every K-th where the environment has FASTBCD_SHARE=K; K `at_most`."""
    every = int(os.environ.get("FASTBCD_SHARE", "1"))
    return list(cases)[:: every if at_most is None else min(every, at_most)]


def whole():
    """Whether all cases run."""
    return len(share(range(2))) == 2


def count(whole, at_least):
    """Return how many of so many repetitions to do: a K-th of them, but some."""
    return max(at_least, len(share(range(whole))))
