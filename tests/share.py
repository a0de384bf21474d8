"""The share of slow tests with many cases that CI runs."""

import os


def share(cases):
    """All of `cases`, or every K-th where the environment has FASTBCD_SHARE=K."""
    return list(cases)[:: int(os.environ.get("FASTBCD_SHARE", "1"))]


def count(whole, at_least):
    """How many of so many repetitions: a K-th, but some."""
    return max(at_least, len(share(range(whole))))
