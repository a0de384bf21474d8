"""Class probabilities: each link minimises what its loss promises, and rows add up to 1."""

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import expit

from fastbcd import InputError
from fastbcd.kernels import LOSSES
from fastbcd.models.probabilities import LINKS, probabilities

OUTPUTS = np.random.default_rng(0).normal(size=(50, 4)) * 2
LARGEST = np.finfo(np.float64).max


@pytest.mark.parametrize("k", [1, 2, 3, 10])
def test_squared_gives_the_nearest_point_of_the_simplex(k):
    # The definition: (v - p) (q - p) <= 0 for every corner q, hence for every q of the simplex.
    rng = np.random.default_rng(k)
    for v in rng.normal(size=(100, k)) * rng.choice([0.1, 1, 10], size=(100, 1)):
        p = probabilities("squared", [v])[0]
        assert (p >= 0).all()
        assert p.sum() == pytest.approx(1, abs=1e-12)
        assert ((v - p) @ (np.eye(k) - p).T <= 1e-12).all()


def test_squared_leaves_a_point_of_the_simplex_where_it_is():
    p = np.random.default_rng(0).dirichlet(np.ones(5), 20)
    np.testing.assert_allclose(probabilities("squared", p), p, atol=1e-15)


@pytest.mark.parametrize("loss", ["squared", "cross_entropy"])
def test_the_outputs_that_minimise_the_expected_loss_give_its_probabilities(loss):
    true = np.array([0.5, 0.3, 0.15, 0.05])

    def expected(v):
        return sum(q * LOSSES[loss]().row_value(v, y) for q, y in zip(true, np.eye(4), strict=True))

    v = minimize(expected, np.zeros(4), tol=1e-10).x
    np.testing.assert_allclose(probabilities(loss, [v])[0], true, atol=1e-4)


@pytest.mark.parametrize(
    ("loss", "slope"), [("logistic", 1), ("logistic_ovr", 1), ("exponential", 2)]
)
def test_one_against_rest_minimises_the_expected_loss_of_each_class(loss, slope):
    # With one output, the class against the rest: its minimiser v has expit(slope v) = truth.
    true = np.array([0.1, 0.3, 0.6])
    function = LOSSES[loss]()

    def minimiser(q):
        def expected(v):
            return q * function.row_value(v, np.ones(1)) + (1 - q) * function.row_value(
                v, np.zeros(1)
            )

        return minimize(expected, np.zeros(1), tol=1e-10).x[0]

    v = np.array([minimiser(q) for q in true])
    np.testing.assert_allclose(expit(slope * v), true, atol=1e-4)
    np.testing.assert_allclose(probabilities(loss, [v])[0], true, atol=1e-4)


def test_one_against_rest_divides_by_the_sum():
    p = expit(2 * OUTPUTS)
    expected = p / p.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(probabilities("exponential", OUTPUTS), expected, rtol=1e-12)


EXTREME = np.array(
    [
        *([0, 0, 0], [1e30, 0, 0], [-1e30, -1e30, 1e30], [1e30, 1e30, -1e30], [1e16, 1e16 + 2, 0]),
        *([LARGEST, -LARGEST, 0], [-LARGEST] * 3, [LARGEST] * 3, [-1e308, -1e-308, 1e-308]),
        *([-800, -801, -900], [800, 801, 900], [1e-300, 0, -1e-300]),
    ]
)


@pytest.mark.parametrize("loss", LINKS)
def test_rows_add_up_to_1_and_keep_their_order_for_extreme_outputs(loss):
    p = probabilities(loss, EXTREME)
    assert ((p >= 0) & (p <= 1)).all()
    np.testing.assert_allclose(p.sum(axis=1), 1, atol=1e-12)
    largest = np.take_along_axis(p, EXTREME.argmax(axis=1)[:, None], axis=1)[:, 0]
    assert (largest >= p.max(axis=1) - 1e-15).all()
    assert p[1, 0] == pytest.approx({"squared": 1, "cross_entropy": 1}.get(loss, 0.5), abs=1e-12)


@pytest.mark.parametrize("loss", LINKS)
def test_a_permutation_of_classes_permutes_probabilities(loss):
    order = [2, 0, 3, 1]
    np.testing.assert_allclose(
        probabilities(loss, OUTPUTS[:, order]), probabilities(loss, OUTPUTS)[:, order], atol=1e-15
    )


def test_a_loss_that_only_finds_the_likelier_class_or_a_number_says_so():
    numbers = {"absolute", "huber", "quantile", "poisson", "gamma", "tweedie"}
    assert set(LOSSES) - set(LINKS) == {"hinge"} | numbers
    with pytest.raises(InputError, match="hinge gives no probabilities; those that do: squared"):
        probabilities("hinge", OUTPUTS)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_outputs_that_are_not_finite_are_refused(bad):
    with pytest.raises(InputError, match="outputs must be finite, but row 0, column 1"):
        probabilities("squared", [[0.0, bad]])


def test_float32_is_computed_in_float64():
    p = probabilities("cross_entropy", OUTPUTS.astype(np.float32))
    assert p.dtype == np.float64
    np.testing.assert_allclose(p.sum(axis=1), 1, atol=1e-15)
