"""Networks of PyTorch, trained in place; PyTorch is imported when a function is called."""

from __future__ import annotations

from fastbcd.torch.training import fit

__all__ = ["fit"]
