"""kernels/README.md: every public kernel is listed, and the examples do what they say."""

import inspect
import re
import sys
from functools import partial
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from scipy.optimize import nnls
from scipy.special import log_softmax, softmax, xlogy
from sklearn.datasets import load_diabetes
from sklearn.linear_model import Lasso

from fastbcd import kernels

README = (Path(__file__).parent.parent / "kernels" / "README.md").read_text()
EXAMPLES = dict(re.findall(r"^## Example (\w).*?\n(.*?)(?=^## |\Z)", README, re.M | re.S))
NUMBER = r"-?\d+\.?\d*(?:e[-+]?\d+)?"


@pytest.fixture
def run(capsys, monkeypatch):
    return partial(run_example, capsys, monkeypatch)


def run_example(capsys, monkeypatch, letter):
    """Namespace of an example, after a check of what it printed."""
    # A module that can be found by name: Numba's disk cache wants it of a formula's functions.
    module = ModuleType(f"example_{letter}")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    names = module.__dict__
    blocks = re.findall(r"```(python|text)\n(.*?)```", EXAMPLES[letter], re.S)
    assert [kind for kind, _ in blocks] == ["python", "text"] * (len(blocks) // 2)
    for kind, block in blocks:
        if kind == "python":
            exec(compile(block, f"kernels/README.md, example {letter}", "exec"), names)
        else:
            assert_prints(capsys.readouterr().out, block)
    return names


def assert_prints(printed, shown):
    """The same words, and numbers that agree but for one unit of the last digit shown."""
    assert re.sub(NUMBER, "#", printed).split() == re.sub(NUMBER, "#", shown).split()
    for ours, theirs in zip(re.findall(NUMBER, printed), re.findall(NUMBER, shown), strict=True):
        decimals = len(theirs.partition(".")[2])
        assert float(ours) == pytest.approx(float(theirs), abs=1.01 * 10.0**-decimals), shown


def test_the_tables_list_every_public_name_once():
    first_cells = re.findall(r"^\| (`.*?) \|", README, re.M)
    listed = [name for cell in first_cells for name in re.findall(r"`(\w+)`", cell)]
    assert sorted(listed) == sorted(kernels.__all__)


@pytest.mark.parametrize("name", kernels.__all__)
def test_every_public_kernel_opens_with_a_docstring_of_its_own(name):
    public = getattr(kernels, name)
    if callable(public):
        function = getattr(public, "py_func", public)
        assert inspect.cleandoc(function.__doc__ or "")


def test_every_example_is_tested():
    assert list(EXAMPLES) == ["A", "B", "C", "D"]
    assert README.count("```python") == len(EXAMPLES)


def certified_minimum(W, X, Y, strength):
    """``min F``, F(W) = sum_i cross-entropy + strength |weights|_1, and its duality gap, in NumPy.

    Newton's method over the weights that are not zero in W, their signs given, and the
    biases. With ``theta = Y - softmax(X^ W^T)``, ``1^T theta = 0``, scaled so that
    ``|theta^T X| <= strength``, minus the sum of ``s log s``, ``s = Y - theta``, bounds F
    from below: wrong zeros or signs would leave a gap.
    """
    hat = np.hstack([X, np.ones((len(X), 1))])
    (k, columns), W = W.shape, W.copy()
    slopes = strength * np.sign(W)
    slopes[:, -1] = 0.0
    free = slopes != 0
    free[:, -1] = True
    for _ in range(4):
        S = softmax(hat @ W.T, axis=1)
        gradient = (S - Y).T @ hat + slopes
        hessian = np.empty((k, columns, k, columns))
        for i in range(k):
            for j in range(i + 1):
                block = hat.T * (S[:, i] * ((i == j) - S[:, j])) @ hat
                hessian[i, :, j] = hessian[j, :, i] = block
        hessian = hessian.reshape(k * columns, -1)[np.ix_(free.ravel(), free.ravel())]
        # Least squares: the same bias for all classes changes nothing.
        W[free] -= np.linalg.lstsq(hessian, gradient[free], rcond=1e-12)[0]
    log_s = log_softmax(hat @ W.T, axis=1)
    minimum = -np.sum(Y * log_s) + strength * np.abs(W[:, :-1]).sum()
    theta = Y - np.exp(log_s)
    assert np.abs(theta.sum(axis=0)).max() < 1e-10
    theta *= min(1.0, strength / np.abs(theta.T @ X).max())
    return minimum, minimum + np.sum(xlogy(Y - theta, Y - theta))


def test_example_a_reaches_the_minimum(run):
    names = run("A")
    value = names["objective"]
    minimum, gap = certified_minimum(names["Z"], names["X"], names["Y"], strength=1.0)
    # Measured: the gap is 1e-14 of the minimum, ADMM ends 1.4e-10 above it.
    assert abs(gap) <= 1e-12 * minimum
    assert -1e-12 * minimum <= value - minimum <= 3e-10 * minimum


def test_example_b_agrees_with_scikit_learn_and_scipy(run):
    names = run("B")
    X, y = load_diabetes(return_X_y=True)
    lasso = Lasso(alpha=0.1, tol=1e-12, max_iter=100_000).fit(X, y)
    expected = [*lasso.coef_, lasso.intercept_]
    np.testing.assert_allclose(names["lasso"][0], expected, rtol=1e-7, atol=1e-7)
    expected, _ = nnls(np.hstack([X, np.ones((len(X), 1))]), y)
    np.testing.assert_allclose(names["positive"][0], expected, rtol=1e-9, atol=1e-9)
    assert (names["positive"] == 0).any()


def test_example_c_goes_on_from_its_checkpoint(run):
    names = run("C")
    assert names["state"].iteration == len(names["objectives"]) - 1 > 10
    assert names["checkpoint"].iteration == names["state"].iteration
    assert not np.shares_memory(names["checkpoint"].W[1], names["state"].W[1])
    objective = names["bold"].objective
    assert objective(names["checkpoint"]) == objective(names["state"]) == names["objectives"][-1]


def test_example_d_finds_global_minimisers(run):
    names = run("D")
    rng = np.random.default_rng(0)
    grid = np.linspace(-8, 8, 160_001)
    for _ in range(50):
        a, c, q = 3 * rng.normal(), rng.normal(), rng.uniform(0.1, 3)
        best = np.min((a - 2 * np.abs(grid)) ** 2 + q * (grid - c) ** 2)
        u = names["absolute"].prox(a, c, q)
        assert (a - 2 * abs(u)) ** 2 + q * (u - c) ** 2 <= best + 1e-12
    V = names["V"]
    np.testing.assert_allclose(names["U"], np.maximum(2 * V / (4 + 0.1), 0) * [1, -1, 1], atol=1e-6)
