"""The loop around a solver's step, and what it measures."""
