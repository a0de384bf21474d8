"""CUDA graphs: repeated work is recorded once, and then started by a single launch."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from fastbcd.devices.cuda.captures import captures
from fastbcd.devices.workspace import Workspaces

# Graphs that are kept. A pass has at most eight kinds of batches, a stream one for each size.
KEPT = 16


@dataclass
class _Graph:
    """A launch, None before its capture, and the arrays that must live as long."""

    arrays: Any
    launch: Callable[[], None] | None = None


class Graphs:
    """Bodies by kind: the first call runs a body, the second captures it, later ones launch it.

    The first call compiles kernels and makes work arrays and constants, which is not allowed in a
    capture. Kinds of one `family` share these. So if calls of the family have done all `parts` of a
    kind before, its first call captures it.

    A captured launch keeps the addresses and numbers of its capture. Hence the key of a graph has
    all that the body depends on, and its arrays. All these arrays, work arrays included, stay in
    memory as long as the graph, even if others take their place.

    Parameters
    ----------
    library : Library
        It captures.
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
        """Call ``body()`` or repeat its launches; see `fastbcd.devices.protocol.Batches.run`."""
        addresses = tuple(map(id, _leaves(arrays)))
        key = family, parts, addresses
        graph = self._graphs.get(key)
        if graph is None:
            graph = self._graphs[key] = _Graph(list(_leaves(arrays)))
            if len(self._graphs) > KEPT:
                captures.release(partial(self._graphs.popitem, last=False))
            if len(self._done) > KEPT:
                self._done.clear()  # the batches of a stream may all differ
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
