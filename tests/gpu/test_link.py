"""Every kernel of the GPU compiles and links, with every formula; CI links some of the formulas."""

import subprocess
import sys
from pathlib import Path

import pytest
from command import environment


@pytest.mark.soak
def test_every_kernel_links_with_every_formula() -> None:
    pytest.importorskip("numba_cuda")
    command = [sys.executable, str(Path(__file__).with_name("link.py"))]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
