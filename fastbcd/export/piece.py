"""One layer of PyTorch, described without PyTorch, and what chains of such layers hold."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

Array = NDArray[Any]
# Layers of `fastbcd.export.torch_layers`; PyTorch has all others.
OWN = (
    *("Residual", "Skip", "ChannelsFirst", "ChannelsLast", "Polynomial"),
    *("Simplex", "OneAgainstRest", "EachLabel", "Exponential"),
)


@dataclass(frozen=True)
class Piece:
    """A layer with its tensors by name; its `repr` is the Python expression that builds it."""

    name: str
    arguments: tuple[Any, ...] = ()
    keywords: dict[str, Any] = field(default_factory=dict)
    tensors: dict[str, Array] = field(default_factory=dict)

    def __repr__(self) -> str:
        named = [f"{name}={value!r}" for name, value in self.keywords.items()]
        return f"{self.called}({', '.join([*map(repr, self.arguments), *named])})"

    @property
    def called(self) -> str:
        """The name of its class in a file that has ``from torch import nn``."""
        return self.name if self.name in OWN else f"nn.{self.name}"


def state(chain: list[Piece] | tuple[Piece, ...], prefix: str = "") -> Iterator[tuple[str, Array]]:
    """Keys and tensors of the state of a ``Sequential`` of these layers."""
    for k, piece in enumerate(chain):
        for name, tensor in piece.tensors.items():
            yield f"{prefix}{k}.{name}", tensor
        if piece.name == "Residual":
            yield from state(piece.arguments, f"{prefix}{k}.layers.")


def names(chain: list[Piece] | tuple[Piece, ...]) -> set[str]:
    """Names of the classes of all layers, including layers inside others."""
    inner = [
        names((*piece.arguments, *piece.keywords.values()))
        for piece in chain
        if piece.name == "Residual"
    ]
    return {piece.name for piece in chain}.union(*inner)
