"""Layer types: each owns its linear operator and the blocks of the algorithms that contain it."""

from __future__ import annotations

from fastbcd.layers.base import Layer, Operator, StateBlock, WeightBlock
from fastbcd.layers.conv2d import Conv2d
from fastbcd.layers.dense import Dense
from fastbcd.layers.skip import Skip
from fastbcd.layers.specification import build_layers

__all__ = [
    "Conv2d",
    "Dense",
    "Layer",
    "Operator",
    "Skip",
    "StateBlock",
    "WeightBlock",
    "build_layers",
]
