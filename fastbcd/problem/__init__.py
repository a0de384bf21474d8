"""The training problem: network, loss, penalties and couplings."""

from __future__ import annotations

from fastbcd.problem.problem import REDUCTIONS, Problem

__all__ = ["REDUCTIONS", "Problem"]
