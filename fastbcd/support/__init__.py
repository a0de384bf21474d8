"""Helpers for all other packages: parameters, floating-point settings, forks, renamed members."""
