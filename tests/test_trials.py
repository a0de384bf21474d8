"""Trials on held-out samples choose damping and passes of the estimators for small tables."""

import numpy as np
import pytest
from sklearn.datasets import make_classification
from sklearn.metrics import log_loss

from fastbcd import BCDClassifier, BCDRegressor, InputError, trials
from fastbcd.trials import Trial, chosen_by_trials, held_out, run_trial

X, y = make_classification(700, 12, n_informative=4, flip_y=0.3, random_state=0)
ROWS, NEW = slice(100), slice(200, None)


def fitted(**options):
    return BCDClassifier(**{"hidden_layer_sizes": (64,), "random_state": 0} | options)


def weights(estimator):
    return [W.tobytes() for W in estimator.network_.W]


def test_noise_is_not_learned_by_heart():
    usual = fitted(early_stopping=False).fit(X[ROWS], y[ROWS])
    chosen = fitted().fit(X[ROWS], y[ROWS])
    losses = [log_loss(y[NEW], each.predict_proba(X[NEW])) for each in (chosen, usual)]
    assert losses[0] < 0.66 < losses[1]
    assert chosen.n_iter_ < usual.n_iter_
    assert chosen.validation_loss_curve_ is None  # it was trained on all samples
    assert weights(fitted(early_stopping="auto").fit(X[ROWS], y[ROWS])) == weights(chosen)


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        # damping: (least loss, passes of 10)
        ({5.0: (1.0, 9), 1.0: (0.8, 10), 0.2: (0.7, 10)}, (0.2, 18)),
        ({5.0: (1.0, 9), 1.0: (0.8, 8), 0.2: (0.7, 6)}, (0.2, 12)),
        ({5.0: (1.0, 9), 1.0: (0.8, 10), 0.2: (0.79, 10)}, (1.0, 18)),
        ({5.0: (1.0, 9), 1.0: (0.8, 7)}, (1.0, 14)),  # twice as many, not more than 18
        ({5.0: (1.0, 9), 1.0: (0.99, 3)}, (5.0, 18)),  # not clearly better
        ({5.0: (1.0, 3), 15.0: (0.99, 5)}, (15.0, 10)),
        ({5.0: (1.0, 3), 15.0: (1.01, 5)}, (5.0, 6)),
    ],
)
def test_the_better_trial_chooses_damping_and_passes(monkeypatch, found, expected):
    asked = []

    def scripted(solver, damping, train, held, seed):
        asked.append(damping)
        assert solver == {"damping": damping, "batch_size": 96, "schedule": "constant"}
        assert [len(part) for part in train + held if part is not None] == [2880, 2880, 320, 320]
        return Trial(damping, *found[damping], 10)

    monkeypatch.setattr(trials, "run_trial", scripted)
    A = np.zeros((3200, 1))
    chosen = chosen_by_trials(lambda given: given, A, A, None, np.arange(3200) % 2, 0)
    assert asked == list(found)
    assert chosen == {"damping": expected[0], "batch_size": 96, "max_iter": expected[1]}


@pytest.mark.parametrize(
    ("losses", "passes", "steps"),
    [
        ([3.0, 2.0, 1.0, 1.5, 1.6, 1.7, 0.5, 0.1], 3, 6),  # at twice the best pass
        ([1.0, 2.0, 3.0, 0.0], 1, 3),  # but not before three
        ([4.0, 3.0, 2.0, np.nan, 1.0], 5, 10),
        ([2.0, FloatingPointError("overflow"), 1.0], 1, 1),
    ],
)
def test_a_trial_ends_once_the_loss_has_risen_for_long_enough(monkeypatch, losses, passes, steps):
    class Solver:
        problem = device = type("Parts", (), {"loss": None, "n_threads": 1})

        def settings(self, n):
            return type("Settings", (), {"batch_size": 20})

        def init(self, *arrays, **options):
            self.done = 0

        def step(self, state):
            now = losses[min(self.done, len(losses) - 1)]
            if isinstance(now, Exception):
                raise now
            self.done += 1

    solver = Solver()
    network = type("Network", (), {"forward": lambda self, A, n_threads: solver.done})
    monkeypatch.setattr(trials, "network_of", lambda solver, state: network())
    monkeypatch.setattr(
        trials, "mean_loss", lambda loss, done, *rest: losses[min(done, len(losses)) - 1]
    )
    part = np.zeros((400, 1)), None, None
    trial = run_trial(solver, 5.0, part, part, 0)
    assert (trial.passes, solver.done, trial.most) == (passes, steps, 10)


@pytest.mark.parametrize(("n", "share"), [(200, 4), (2000, 8), (5000, 10)])
def test_each_class_is_held_out_in_its_share(n, share):
    labels = np.random.default_rng(0).choice(3, n, p=[0.6, 0.3, 0.1])
    held = held_out(labels, seed=1)
    for k in range(3):
        assert abs(held[labels == k].sum() - (labels == k).sum() / share) <= 1
    assert (held == held_out(labels, seed=1)).all()
    assert (held != held_out(labels, seed=2)).any()


def test_settings_that_are_given_stay():
    ours, usual = (fitted(max_iter=3, early_stopping=stop) for stop in ("auto", False))
    assert weights(ours.fit(X[ROWS], y[ROWS])) == weights(usual.fit(X[ROWS], y[ROWS]))


def test_a_warm_start_goes_on_with_what_the_trials_chose(monkeypatch):
    warm = fitted(warm_start=True).fit(X[ROWS], y[ROWS])
    chosen, passes = warm._of_trials, warm.n_iter_
    monkeypatch.setattr(trials, "run_trial", None)  # there are no further trials
    assert warm.fit(X[ROWS], y[ROWS]).n_iter_ == 2 * passes == 2 * chosen["max_iter"]
    parameters = warm.set_params(damping=3.0)._with_chosen(warm.get_params())
    assert parameters["damping"] == 3.0
    assert parameters["batch_size"] == chosen["batch_size"]
    unchanged = warm.set_params(early_stopping=False).get_params()
    assert warm._with_chosen(unchanged) == unchanged


@pytest.mark.parametrize(
    ("given", "n"),
    [
        ({"damping": 2.0}, 150),
        ({"schedule": "linear"}, 150),
        ({"batch_size": 20}, 150),
        ({"layers": "dense:8"}, 150),
        ({"solver": "three-splitting", "loss": "squared"}, 150),
        ({"early_stopping": False}, 150),
        ({}, 99),
        ({}, 20_000),
    ],
)
def test_few_or_many_samples_full_batches_and_given_settings_have_no_trials(given, n, monkeypatch):
    monkeypatch.setattr(trials, "run_trial", None)
    A = np.zeros((n, 1))
    assert fitted(**given)._chosen(A, A, None, A, 0) == {}


def test_other_samples_have_trials(monkeypatch):
    monkeypatch.setattr(trials, "run_trial", lambda *_: Trial(5.0, 1.0, 2, 10))
    for n in (100, 19_999):
        A = np.zeros((n, 1))
        assert fitted()._chosen(A, A, None, A, 0)["max_iter"] == 4


def test_weights_may_leave_nothing_to_hold_out():
    A, weight = np.zeros((150, 1)), np.zeros(150)
    weight[0] = 1.0  # one sample counts, so one of the two parts has none
    assert fitted()._chosen(A, A, weight, A, 0) == {}


def test_a_regressor_has_trials_too():
    rng = np.random.default_rng(0)
    target = X[:, 0] + 3.0 * rng.normal(size=len(X))
    ours, usual = (
        BCDRegressor((64,), early_stopping=stop, random_state=0).fit(X[ROWS], target[ROWS])
        for stop in ("auto", False)
    )
    assert ours.score(X[NEW], target[NEW]) > usual.score(X[NEW], target[NEW]) + 0.1


@pytest.mark.parametrize("wrong", ["sometimes", 2, None, [True, False]])
def test_other_values_of_early_stopping_are_refused(wrong):
    with pytest.raises(InputError, match="^early_stopping must be True, False or 'auto', got"):
        fitted(early_stopping=wrong).fit(X[:100], y[:100])
