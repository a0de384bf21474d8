"""The share of slow tests with many cases that CI runs."""

import os


def share(cases):
    """All of `cases`, or every K-th where the environment has FASTBCD_SHARE=K."""
    return list(cases)[:: int(os.environ.get("FASTBCD_SHARE", "1"))]
