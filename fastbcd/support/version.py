"""The version of the package, which files name as their writer."""

from __future__ import annotations

__version__ = "0.1.0"
