"""A sample of the table of all combinations keeps the promises."""

import csv
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
from command import package_root
from share import whole

SCRIPT = Path(__file__).parent.parent / "benchmarks" / "combinations.py"


@pytest.mark.slow
@pytest.mark.parametrize("acceleration", ["none", "nesterov"])
@pytest.mark.parametrize(
    ("dtype", "limit"),
    [("float32", 1e-7), pytest.param("float64", 1e-12, marks=pytest.mark.soak)],
)
def test_combinations_descend_and_refusals_have_a_reason(tmp_path, dtype, limit, acceleration):
    table = tmp_path / "table.csv"
    # These have no factor in common with the numbers of penalties, losses and activations.
    every = 271 if whole() else 983
    options = ["--dtype", dtype, "--every", str(every), "--processes", "1", "--out", str(table)]
    options += ["--acceleration", acceleration]
    done = subprocess.run(
        [sys.executable, str(SCRIPT), *options],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": package_root()},
    )
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    runs = [row for row in rows if not row["refused"]]
    assert len(rows) == math.ceil(3549 / every)
    assert len(runs) >= len(rows) - 1
    for row in runs:
        assert float(row["rise"]) <= limit, row
        assert float(row["smallest_decrease"]) >= float(row["promised_decrease"]), row
        assert float(row["insufficient"]) == 0, row
        if row["penalty"] != "nonnegative":  # with these weights 25 iterations may not be enough
            assert float(row["last_subgradient"]) < float(row["first_subgradient"]), row
    for row in rows:
        if row["refused"]:
            assert "prox-linear needs a loss whose gradient is Lipschitz" in row["refused"]
    assert done.stdout.startswith(f"{len(runs)} runs in {dtype}: the largest rise of the objective")
    restarts = int(sum(float(row["restarts"]) for row in runs))
    assert restarts == 0 or acceleration != "none"
    totals = (
        f"acceleration {acceleration}: a rise of the objective above rounding in 0 runs, "
        f"a decrease below the promised one in 0 runs, {restarts} restarts."
    )
    assert totals in done.stdout.splitlines()
