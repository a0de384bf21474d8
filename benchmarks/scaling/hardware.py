"""Hardware for which the model is read off: cores, networks, networks of layers."""

from __future__ import annotations

from .model import Machine, Network

CORE = Machine(
    products=70e9,
    gram=62e9,
    small_gram=34e9,
    factor=22e9,
    solve=25e9,
    elementwise=20e9,
    matrices=15e9,
)
"""Seven tenths of what one core of an AMD EPYC (Zen 4) does here with one neighbour at work, for
the lower clock of 32 busy cores; a third of its memory bandwidth, which they share."""
CORES = 32
NETWORKS = {
    "25 Gbit/s": Network(latency=10e-6, bandwidth=25e9 / 8, adding=10e9),
    "100 Gbit/s": Network(latency=2e-6, bandwidth=100e9 / 8, adding=10e9),
}
"""Ethernet with TCP, and a fabric for computing."""
LAYERS = {
    "784-1500x3-10": (784, *[1500] * 3, 10),
    "784-128x20-10": (784, *[128] * 20, 10),
}
