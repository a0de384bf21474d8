"""A fresh kernel cache for every test session, and the place of real data."""

import gc
import os
import tempfile
from pathlib import Path

import pytest

# Before Numba is imported: what the tests compile does not depend on earlier sessions.
# Subprocesses of the tests inherit it.
os.environ.setdefault("NUMBA_CACHE_DIR", tempfile.mkdtemp(prefix="fastbcd-test-cache-"))

# Collections go through all objects of a session, and compilation makes many of them: with Python's
# own thresholds kernels compile a tenth to a quarter slower.
gc.set_threshold(100_000, 50, 100)


@pytest.fixture(scope="session")
def mnist_folder() -> Path:
    """Folder of the four MNIST files, ``$FASTBCD_DATA/mnist``."""
    root = os.environ.get("FASTBCD_DATA")
    if root is None:
        pytest.skip("FASTBCD_DATA is not set: no MNIST")
    folder = Path(root) / "mnist"
    if not folder.is_dir():
        pytest.skip(f"{folder} does not exist: no MNIST")
    return folder
