"""Pictures drawn in several threads leave matplotlib's settings as they were."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

matplotlib = pytest.importorskip("matplotlib")

from fastbcd.plots.style import STYLE, style  # noqa: E402


def test_settings_are_as_before_whoever_ends_last():
    before = dict(matplotlib.rcParams)
    inside, other_asked = threading.Event(), threading.Event()

    def first():
        with style():
            inside.set()
            # Where two threads could be in at once, the second would come in now, and stay longer.
            other_asked.wait(1.0)

    def second():
        inside.wait()
        other_asked.set()
        with style():
            done.result()
            return matplotlib.rcParams["font.size"]

    with ThreadPoolExecutor(2) as pool:
        done = pool.submit(first)
        assert pool.submit(second).result() == STYLE["font.size"]
    assert dict(matplotlib.rcParams) == before
    with style(), style():  # one thread may draw in a picture of its own
        assert matplotlib.rcParams["font.size"] == STYLE["font.size"]
    assert dict(matplotlib.rcParams) == before
