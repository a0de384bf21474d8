"""While a graph is captured, nothing waits for the whole device and nothing is released."""

from __future__ import annotations

import gc
import threading
from typing import Any

import pytest

from fastbcd.devices.cuda.captures import Captures


class Owner:
    """A resource in a reference cycle, which is given back when it is collected."""

    def __init__(self, captures: Captures, given_back: list[str]) -> None:
        self.itself = self
        captures.release_with(self, lambda: given_back.append("handle"))


def test_what_is_collected_during_a_capture_is_given_back_after_it() -> None:
    captures, given_back = Captures(), []
    with captures.capture():
        Owner(captures, given_back)
        gc.collect()
        assert given_back == []
    assert given_back == ["handle"]


def test_what_is_collected_at_other_times_is_given_back_at_once() -> None:
    captures, given_back = Captures(), []
    Owner(captures, given_back)
    gc.collect()
    assert given_back == ["handle"]


def test_a_collector_in_another_thread_does_not_wait_for_a_capture() -> None:
    captures, given_back = Captures(), []

    def collect() -> None:
        captures.release(lambda: given_back.append("memory"))

    with captures.capture():
        other = threading.Thread(target=collect)
        other.start()
        other.join(timeout=10)
        assert not other.is_alive()
        assert given_back == []
    assert given_back == ["memory"]


def test_a_wait_for_the_device_waits_for_the_capture_of_another_thread() -> None:
    captures, order = Captures(), []
    inside = threading.Event()

    def wait() -> None:
        inside.wait(10)
        with captures.no_capture():
            order.append("waited")

    other = threading.Thread(target=wait)
    other.start()
    with captures.capture():
        inside.set()
        other.join(timeout=0.2)
        order.append("captured")
    other.join(timeout=10)
    assert order == ["captured", "waited"]


def test_a_capture_that_fails_gives_back_as_well() -> None:
    captures, given_back = Captures(), []

    def fail() -> Any:
        with captures.capture():
            captures.release(lambda: given_back.append("graph"))
            raise RuntimeError("a body that fails")

    with pytest.raises(RuntimeError):
        fail()
    assert given_back == ["graph"]
