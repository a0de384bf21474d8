"""``fastbcd info``: versions, threads and devices, for bug reports."""

from __future__ import annotations

import argparse
import os
import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from threadpoolctl import threadpool_info

from fastbcd.devices import DEVICES
from fastbcd.devices.cuda.library import describe
from fastbcd.devices.processors import available_processors
from fastbcd.devices.threads import resolve_threads
from fastbcd.kernels import ACTIVATIONS, LOSSES, PENALTIES, bf16
from fastbcd.kernels.cache import cache_folder
from fastbcd.kernels.library import LIBRARY
from fastbcd.support.version import __version__


def add_command(commands: Any) -> None:
    """Add ``info`` to the command line."""
    parser = commands.add_parser("info", help="show versions, threads and devices")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Print one fact per line."""
    blas = [
        f"{library['internal_api']} {library['version']} ({library.get('architecture', '?')}, "
        f"{library['num_threads']} threads)"
        for library in threadpool_info()
        if library["user_api"] == "blas"
    ]
    packages = ("numba", "numpy", "scipy", "scikit-learn")
    facts = {
        "fastbcd": __version__,
        "python": f"{platform.python_version()} on {platform.system()} {platform.machine()}",
        **{package: version(package) for package in packages},
        "cores": f"{os.cpu_count()}, of which this process may use {available_processors()}",
        "threads by default": resolve_threads(None),
        "blas": "; ".join(blas) or "not recognised: its threads cannot be limited",
        "blas of kernels": LIBRARY.description,
        "products in bf16": "yes" if bf16.AVAILABLE else "no: they need AVX512-BF16",
        "kernel cache": cache_folder() or "none: each process compiles; set NUMBA_CACHE_DIR",
        "devices": ", ".join(DEVICES),
        **_of_the_gpu(),
        "activations": ", ".join(ACTIVATIONS),
        "losses": ", ".join(LOSSES),
        "penalties": ", ".join(PENALTIES),
    }
    width = max(map(len, facts))
    for name, fact in facts.items():
        print(f"{name:<{width}}  {fact}")


def _of_the_gpu() -> dict[str, str]:
    """Device, driver, toolkit and the kernels that compile there, or what is missing."""
    facts = describe()
    if "cuda driver" in facts:
        from fastbcd.cli.cuda_trial import try_kernels

        for package in ("numba-cuda", "cuda-core"):
            try:
                facts[package] = version(package)
            except PackageNotFoundError:
                facts[package] = "not installed"
        facts["cuda kernels"] = try_kernels()
    return facts
