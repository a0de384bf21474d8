"""Threads of PyTorch, and the name of its BLAS."""

from __future__ import annotations

import os
import re

import torch
from libraries import cores


def use_all_cores() -> int:
    """As many threads as this process has cores, or as OMP_NUM_THREADS says."""
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS") or cores()))
    return torch.get_num_threads()


def blas() -> str:
    """The BLAS that PyTorch was built with, such as ``mkl 2024.2``."""
    built = torch.__config__.show()
    name = re.search(r"BLAS_INFO=(\w+)", built)
    number = re.search(r"Math Kernel Library Version ([\d.]+)", built)
    return " ".join(match[1] for match in (name, number) if match) or "unknown"
