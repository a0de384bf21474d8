"""Layer types: each owns its linear operator, and what the blocks of the algorithms make of it."""

from __future__ import annotations

from fastbcd.layers.base import Layer, Operator, StateBlock, WeightBlock
from fastbcd.layers.dense import Dense
from fastbcd.layers.skip import Skip

__all__ = ["Dense", "Layer", "Operator", "Skip", "StateBlock", "WeightBlock"]
