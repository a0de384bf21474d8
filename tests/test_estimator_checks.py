"""All of scikit-learn's own checks, with no failure expected."""

import os
import subprocess
import sys

import pytest
from share import share, whole
from sklearn.utils.estimator_checks import estimator_checks_generator, parametrize_with_checks

from fastbcd import BCDClassifier, BCDRegressor

# By default a few samples get hundreds of passes; what must be learned here is learned in twenty.
# The checks ask nothing of the widths, and a narrow network is trained in a third of the time.
PASSES = {} if whole() else {"max_iter": 20}
SMALL = {} if whole() else {"hidden_layer_sizes": (16,), **PASSES}


@parametrize_with_checks([BCDClassifier(**SMALL), BCDRegressor(**SMALL)])
def test_the_defaults_pass_every_check(estimator, check):
    check(estimator)


ARRAY_API = """
from sklearn.utils.estimator_checks import estimator_checks_generator
from fastbcd import BCDClassifier, BCDRegressor
ran = 0
for estimator in (BCDClassifier(), BCDRegressor()):
    for one, check in estimator_checks_generator(estimator):
        if "array_api" in str(check):
            check(one)
            ran += 1
print(ran)
"""


@pytest.mark.soak
def test_checks_that_are_skipped_without_scipy_s_array_api_pass_with_it():
    run = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", ARRAY_API],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "SCIPY_ARRAY_API": "1"},
    )
    assert run.returncode == 0, run.stderr
    assert int(run.stdout) >= 2


OTHERS = [
    BCDClassifier((16,), loss="squared", solver="three-splitting", **PASSES),
    BCDRegressor((16,), solver="three-splitting", **PASSES),
    BCDRegressor((16,), solver="two-splitting", activation="tanh", **PASSES),
    # Mini-batches, like the defaults, with other formulas: for whoever has the time.
    pytest.param(BCDClassifier((16,), loss="hinge", dtype="float64"), marks=pytest.mark.soak),
    pytest.param(
        BCDClassifier((16,), loss="logistic_ovr", activation="tanh"), marks=pytest.mark.soak
    ),
]


@pytest.mark.slow
@pytest.mark.parametrize("estimator", share(OTHERS, at_most=2), ids=repr)
def test_other_solvers_and_losses_pass_every_check(estimator):
    failed = []
    for one, check in estimator_checks_generator(estimator):
        name = str(getattr(check, "func", check).__name__)
        if "array_api" in name:
            continue
        try:
            check(one)
        except Exception as error:
            failed.append(f"{name}: {error}")
    assert not failed, "\n".join(failed)
