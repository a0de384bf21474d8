"""Layer types: each owns its linear operator and the blocks of the algorithms that contain it."""

from __future__ import annotations

from fastbcd.layers.base import Layer, Operator, StateBlock, WeightBlock
from fastbcd.layers.conv2d import Conv2d
from fastbcd.layers.dense import Dense
from fastbcd.layers.grouped_conv2d import GroupedConv2d
from fastbcd.layers.pooling import AveragePool2d, MaxPool2d
from fastbcd.layers.skip import Skip
from fastbcd.layers.specification import build_layers

__all__ = [
    "AveragePool2d",
    "Conv2d",
    "Dense",
    "GroupedConv2d",
    "Layer",
    "MaxPool2d",
    "Operator",
    "Skip",
    "StateBlock",
    "WeightBlock",
    "build_layers",
]
