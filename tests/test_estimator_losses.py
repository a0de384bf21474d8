"""Losses for regression in the estimator: each is best by its own measure."""

import pickle

import numpy as np
import pytest
import scipy.stats
from sklearn.linear_model import GammaRegressor, PoissonRegressor, TweedieRegressor
from sklearn.metrics import (
    mean_absolute_error,
    mean_gamma_deviance,
    mean_pinball_loss,
    mean_poisson_deviance,
    mean_tweedie_deviance,
)

from fastbcd import BCDClassifier, BCDRegressor, InputError, Model
from fastbcd.kernels import poisson, quantile

RNG = np.random.default_rng(0)
X = RNG.uniform(-1.5, 1.5, (1200, 3))
CURVE = np.sin(2 * X[:, 0]) + X[:, 1] ** 2
TRAIN, TEST = slice(0, 800), slice(800, None)
# A tenth of the targets is far off, on one side.
TAILED = 50 + 5 * (CURVE + 0.2 * RNG.standard_normal(1200))
TAILED += np.where(RNG.random(1200) < 0.1, 100 * RNG.random(1200), 0.0)
COUNTS = RNG.poisson(np.exp(1 + CURVE)).astype(float)


def quick(loss, **options):
    usual = {"hidden_layer_sizes": (32,), "batch_size": 50, "max_iter": 25, "random_state": 0}
    return BCDRegressor(loss=loss, **usual | options)


@pytest.mark.parametrize("loss", ["absolute", "huber:0.1", "quantile:0.5"])
def test_outliers_hardly_move_robust_losses(loss):
    def error(loss):
        predicted = quick(loss).fit(X[TRAIN], TAILED[TRAIN]).predict(X[TEST])
        return mean_absolute_error(50 + 5 * CURVE[TEST], predicted)

    assert error(loss) < 0.6 * error("squared")


def test_each_level_of_a_quantile_loss_has_its_share_of_targets_below():
    levels = (0.1, 0.5, 0.8)
    several = quick("quantile:0.1,0.5,0.8").fit(X[TRAIN], TAILED[TRAIN])
    predicted = several.predict(X[TEST])
    assert predicted.shape == (400, 3)
    np.testing.assert_allclose((TAILED[TEST, None] <= predicted).mean(axis=0), levels, atol=0.07)
    squared = quick("squared").fit(X[TRAIN], TAILED[TRAIN]).predict(X[TEST])
    for j, level in enumerate(levels):
        loss = mean_pinball_loss(TAILED[TEST], predicted[:, j], alpha=level)
        bound = {0.1: 0.5, 0.5: 0.9, 0.8: 1.0}[level]  # the squared loss is near the last one
        assert loss < bound * mean_pinball_loss(TAILED[TEST], squared, alpha=level)
    columns = quick(quantile(*levels)).fit(X[TRAIN], np.repeat(TAILED[TRAIN, None], 3, axis=1))
    np.testing.assert_array_equal(columns.predict(X[TEST]), predicted)


@pytest.mark.parametrize("unit", [1, 100])
def test_the_poisson_loss_predicts_means_of_counts(unit):
    y = RNG.poisson(unit * np.exp(1 + CURVE)).astype(float)

    def deviance(regressor):
        predicted = regressor.fit(X[TRAIN], y[TRAIN]).predict(X[TEST])
        return mean_poisson_deviance(y[TEST], np.maximum(predicted, 1e-2 * unit))

    poisson = quick("poisson")
    assert deviance(poisson) < 0.7 * deviance(quick("squared"))
    assert deviance(poisson) < 0.5 * deviance(PoissonRegressor(alpha=0))
    assert poisson.predict(X).min() > 0
    assert poisson.predict(X[TEST]).mean() == pytest.approx(y[TEST].mean(), rel=0.1)
    assert poisson.score(X[TEST], y[TEST]) > 0.6


def test_gamma_and_tweedie_losses_predict_means_of_amounts():
    mean = 30 * np.exp(1 + CURVE)
    amounts = mean * RNG.gamma(2.0, 0.5, 1200)
    claims = np.array([RNG.gamma(1.0, 30.0, n).sum() for n in COUNTS.astype(int)])
    for loss, y, deviance, linear in (
        ("gamma", amounts, mean_gamma_deviance, GammaRegressor(alpha=0)),
        (
            "tweedie:1.5",
            claims,
            lambda y, p: mean_tweedie_deviance(y, p, power=1.5),
            TweedieRegressor(power=1.5, alpha=0, max_iter=1000),
        ),
    ):
        predicted = quick(loss).fit(X[TRAIN], y[TRAIN]).predict(X[TEST])
        line = linear.fit(X[TRAIN], y[TRAIN]).predict(X[TEST])
        # No prediction can do better than the true means.
        noise = deviance(y[TEST], mean[TEST])
        assert deviance(y[TEST], predicted) - noise < 0.5 * (deviance(y[TEST], line) - noise)


def test_an_exposure_is_the_weight_of_a_rate():
    exposure = RNG.uniform(0.1, 2, 1200)
    counts = RNG.poisson(exposure * np.exp(1 + CURVE)).astype(float)
    V, weighted = RNG.standard_normal(1200), []
    for v, rate, weight in zip(V, counts / exposure, exposure, strict=True):
        weighted.append(weight * poisson().row_value(np.array([v]), np.array([rate])))
    likelihood = scipy.stats.poisson(exposure * np.exp(V)).logpmf(counts)
    best = scipy.stats.poisson(np.maximum(counts, 1e-300)).logpmf(counts)
    np.testing.assert_allclose(weighted, best - likelihood, rtol=1e-9, atol=1e-9)
    rates = quick("poisson").fit(X[TRAIN], (counts / exposure)[TRAIN], exposure[TRAIN])
    again = exposure[TEST] * rates.predict(X[TEST])
    alone = quick("poisson").fit(X[TRAIN], counts[TRAIN]).predict(X[TEST])
    deviance = [mean_poisson_deviance(counts[TEST], np.maximum(p, 1e-3)) for p in (again, alone)]
    assert deviance[0] < 0.7 * deviance[1]


@pytest.mark.parametrize("loss", ["huber:0.3", "poisson"])
def test_full_batches_learn(loss):
    options = {"solver": "three-splitting", "batch_size": None, "max_iter": 60}
    trained = quick(loss, **options).fit(X[TRAIN], COUNTS[TRAIN])
    assert trained.loss_curve_[-1] < 0.7 * trained.loss_curve_[0]
    predicted = trained.predict(X[TEST]).reshape(400, -1)[:, 0]
    assert np.corrcoef(predicted, COUNTS[TEST])[0, 1] > 0.4


def test_the_poisson_loss_in_a_stream_in_a_file_and_with_early_stopping(tmp_path):
    y = COUNTS[TRAIN]
    stream = quick("poisson", max_iter=None)
    for _ in range(15):
        stream.partial_fit(X[TRAIN], y)
    assert stream.model_.target_shift is None
    assert stream.score(X[TEST], COUNTS[TEST]) > 0.6
    stopped = quick("poisson", early_stopping=True).fit(X[TRAIN], y)
    # The criterion is R^2 of the means, not of their logarithms.
    assert stopped.best_validation_score_ > 0.6
    stopped.set_params(early_stopping=False, warm_start=True, max_iter=2).fit(X[TRAIN], y)
    stopped.model_.save(tmp_path / "model.safetensors")
    loaded = Model.load(tmp_path / "model.safetensors")
    np.testing.assert_allclose(loaded.predict(X), stopped.predict(X), rtol=1e-4)
    again = pickle.loads(pickle.dumps(stopped))
    np.testing.assert_array_equal(again.predict(X), stopped.predict(X))


def test_targets_and_parameters_that_do_not_fit_are_refused():
    for y, message in (
        (COUNTS - 1, "poisson needs targets that are numbers that are not negative"),
        (np.where(COUNTS == 0, np.nan, COUNTS), "NaN"),
    ):
        for method in ("fit", "partial_fit"):
            with pytest.raises(ValueError, match=message):
                getattr(quick("poisson", max_iter=None), method)(X, y)
    with pytest.raises(InputError, match="loss: quantile: a level must lie between 0 and 1"):
        quick("quantile:90").fit(X, COUNTS)
    with pytest.raises(InputError, match="is for 3 outputs, but the network has 2"):
        quick("quantile:0.1,0.5,0.9").fit(X, np.c_[COUNTS, COUNTS])
    assert not hasattr(BCDClassifier(loss="huber:1.0"), "predict_proba")
