"""``device="cuda"`` on a machine without a GPU: errors and imports."""

from __future__ import annotations

import ast
import importlib.util
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from test_hygiene import ROOT, SOURCES, module_of

from fastbcd import (
    BCDClassifier,
    BCDRegressor,
    InputError,
    Problem,
    ThreeSplitting,
    TwoSplitting,
)
from fastbcd.cli.main import main
from fastbcd.devices.cuda.library import Library
from fastbcd.devices.ranks import SingleProcess
from fastbcd.solvers.mini_batch import MiniBatchThreeSplitting

PROBLEM = Problem((4, 5, 3))
SOLVERS = (ThreeSplitting, TwoSplitting, MiniBatchThreeSplitting)


def gpu_at_hand() -> bool:
    try:
        Library("float32", SingleProcess())
    except InputError:
        return False
    return True


without_gpu = pytest.mark.skipif(gpu_at_hand(), reason="there is a GPU, and what it needs")


@without_gpu
@pytest.mark.parametrize("solver", SOLVERS)
def test_cuda_without_what_it_needs_is_an_error_that_says_what_is_missing(solver):
    installed = importlib.util.find_spec("cupy") is not None
    with pytest.raises(InputError, match="NVIDIA GPU" if installed else r"fastbcd\[cuda13\]"):
        solver(PROBLEM, device="cuda")


@without_gpu
def test_without_cupy_the_error_names_the_extras(monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)
    with pytest.raises(InputError, match=r"cuda13.*cuda12"):
        ThreeSplitting(PROBLEM, device="cuda")


@without_gpu
def test_the_command_line_says_so_and_exits_with_2(capsys, tmp_path):
    assert main(["train", "--device", "cuda", "--out", str(tmp_path / "run")]) == 2
    assert "cuda" in capsys.readouterr().err


@without_gpu
def test_info_says_what_is_missing(capsys):
    main(["info"])
    line = next(x for x in capsys.readouterr().out.splitlines() if x.startswith("cuda device"))
    assert "needs" in line or "cuda" in line.lower()


def test_a_gpu_that_is_not_there_is_told_from_packages_that_are_not(monkeypatch):
    def missing():
        raise RuntimeError("cudaErrorNoDevice")

    runtime = SimpleNamespace(getDeviceCount=missing)
    stand_in = SimpleNamespace(cuda=SimpleNamespace(runtime=runtime))
    monkeypatch.setitem(sys.modules, "cupy", stand_in)
    with pytest.raises(InputError, match="NVIDIA GPU and its driver.*cudaErrorNoDevice"):
        ThreeSplitting(PROBLEM, device="cuda")


@pytest.mark.parametrize("solver", SOLVERS)
def test_tf32_is_refused_where_there_is_none(solver):
    with pytest.raises(InputError, match="tf32 is for float32 products on a GPU"):
        solver(PROBLEM, precision="tf32")
    with pytest.raises(InputError, match="tf32 is for float32"):
        solver(PROBLEM, precision="tf32", dtype="float64", device="cuda")
    with pytest.raises(InputError, match="precision must be one of"):
        solver(PROBLEM, precision="half")


@pytest.mark.parametrize("solver", SOLVERS)
def test_the_cpu_refuses_arrays_of_a_gpu(solver):
    class OnGPU:
        __cuda_array_interface__ = {"shape": (6, 4), "typestr": "<f4", "data": (1, False)}  # noqa: RUF012

    with pytest.raises(InputError, match="device='cuda'"):
        solver(PROBLEM).init(OnGPU(), np.zeros((6, 3)))


def importers(package: str) -> set[str]:
    found = set()
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            names = []
            if isinstance(node, ast.ImportFrom) and node.module:
                names = [f"{node.module}.{alias.name}" for alias in node.names]
            elif isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            if any(name == package or name.startswith(f"{package}.") for name in names):
                found.add(module_of(path))
    return found


def test_one_module_imports_numbas_cuda_and_one_cupy():
    assert importers("numba.cuda") == {"fastbcd.kernels.cuda.target"}
    assert importers("cupy") == {"fastbcd.devices.cuda.library"}
    assert importers("cupy_backends") == {"fastbcd.devices.cuda.library"}
    assert (ROOT / "kernels" / "cuda").is_dir()


@without_gpu
@pytest.mark.parametrize("estimator", [BCDClassifier, BCDRegressor])
def test_estimators_pass_the_device_on(estimator):
    X, y = np.eye(6), np.arange(6) % 2
    with pytest.raises(InputError, match="cuda"):
        estimator(device="cuda").fit(X, y)
    with pytest.raises(InputError, match="device must be one of cpu, cuda"):
        estimator(device="tpu").fit(X, y)
