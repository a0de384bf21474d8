"""`benchmarks/tables.py` compares methods on tables with texts and gaps."""

import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import pytest

pandas = pytest.importorskip("pandas")

SCRIPT = Path(__file__).parent.parent / "benchmarks" / "tables.py"


@pytest.fixture(scope="module")
def benchmark():
    spec = importlib.util.spec_from_file_location("benchmark_of_tables", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", [*sys.path])  # the script adds a folder
        spec.loader.exec_module(module)
    return module


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    lines = ["row,age,city,bought"]
    for i in range(80):
        age, city = rng.integers(18, 80), rng.choice(["Oslo", "Rome"])
        bought = "yes" if (age > 45) == (city == "Oslo") else "no"
        lines.append(f"{i + 1},{' ' if i % 7 == 0 else age},{city},{bought}")
    (tmp_path / "shop.csv").write_text("\n".join(lines) + "\n")
    return tmp_path


def run(benchmark, monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["tables.py", *map(str, arguments)])
    benchmark.main()


def test_row_numbers_are_left_out_and_blanks_are_gaps(benchmark, folder):
    table, y = benchmark.read(folder / "shop.csv")
    assert list(table) == ["age", "city"]
    assert table["age"].isna().sum() == 12
    assert set(y) == {"yes", "no"}
    Z = benchmark.usual_pipeline().fit_transform(table)
    assert Z.shape == (80, 3)
    assert np.isfinite(Z).all()


def test_each_measure_has_a_table_with_mean_ranks_and_finished_fits_are_kept(
    benchmark, folder, monkeypatch, capsys
):
    results = folder / "results.jsonl"
    methods = ("encoder", "logistic regression")
    given = folder, "--seeds", 1, "--results", results, "--methods", *methods
    run(benchmark, monkeypatch, *given)
    printed = capsys.readouterr().out
    rows = [json.loads(line) for line in results.read_text().splitlines()]
    assert [(row["table"], row["method"], row["seed"]) for row in rows] == [
        ("shop", method, 0) for method in methods
    ]
    for measure in ("accuracy", "log loss", "auc"):
        cells = " | ".join(f"{row[measure]:.4f}" for row in rows)
        assert (
            f"\n| {measure} | {' | '.join(methods)} |\n|---|---|---|\n| shop | {cells} |" in printed
        )
    # A product of age and city decides, which a linear model cannot see.
    assert rows[0]["accuracy"] > rows[1]["accuracy"]
    assert printed.count("\n| mean rank | 1.0 | 2.0 |") >= 3
    monkeypatch.setattr(benchmark, "measured", None)  # a second run measures nothing
    run(benchmark, monkeypatch, *given)
    assert capsys.readouterr().out == printed


def test_a_table_that_is_not_there_is_named(benchmark, folder, monkeypatch, capsys):
    with pytest.raises(SystemExit) as ended:
        run(benchmark, monkeypatch, folder, "--tables", "shops")
    assert ended.value.code == 2
    assert f"--tables: {folder} has no shops.csv, but shop" in capsys.readouterr().err
