"""CUDA graphs: work that is launched again and again, with one launch for all of it."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from fastbcd.devices.cuda.captures import captures
from fastbcd.devices.workspace import Workspaces

# Graphs that are kept: a pass has eight kinds of batches at most, a stream as many as it has sizes.
KEPT = 16


@dataclass
class _Graph:
    """What to launch, once it has been captured, and arrays that must live as long."""

    arrays: Any
    launch: Callable[[], None] | None = None


class Graphs:
    """Bodies by kind: called the first time, captured the second, launched from then on.

    A first call compiles kernels, makes work arrays and constants, and none of that may happen in
    a capture. Kinds that share a `family` have these from each other: where calls of the family
    have done all `parts` of a kind before, it is captured at once.

    A captured launch has the addresses and numbers of its time. Hence a body is known by what it
    depends on and by the arrays it works on; all of these stay in memory as long as the graph,
    work arrays included, though others may take their place.

    Parameters
    ----------
    library : Library
        Captures.
    work : Workspaces
        The work arrays of bodies.
    """

    def __init__(self, library: Any, work: Workspaces) -> None:
        self._library, self._work = library, work
        self._graphs: OrderedDict[Any, _Graph] = OrderedDict()
        self._done: dict[Any, set[str]] = {}
        captures.release_with(self, self._graphs.clear)

    def run(
        self, family: Any, parts: frozenset[str], arrays: Any, body: Callable[[], None]
    ) -> None:
        """``body()`` or its launches; see `fastbcd.devices.protocol.Batches.run`."""
        addresses = tuple(map(id, _leaves(arrays)))
        key = family, parts, addresses
        graph = self._graphs.get(key)
        if graph is None:
            graph = self._graphs[key] = _Graph(list(_leaves(arrays)))
            if len(self._graphs) > KEPT:
                captures.release(partial(self._graphs.popitem, last=False))
            if len(self._done) > KEPT:
                self._done.clear()  # a stream whose batches all differ
            done = self._done.setdefault((family, addresses), set())
            if not done or not parts <= done:
                body()
                done |= parts
                return
        self._graphs.move_to_end(key)
        if graph.launch is None:
            graph.launch = self._library.captured(body)
            graph.arrays += [*self._work.memory(), *self._library.work_arrays()]
        graph.launch()


def _leaves(arrays: Any) -> Iterator[Any]:
    if isinstance(arrays, list | tuple):
        for part in arrays:
            yield from _leaves(part)
    else:
        yield arrays
