"""Settings that mini-batches choose themselves."""

from dataclasses import astuple

import pytest
from batches import random_data

from fastbcd import (
    MiniBatchThreeSplitting,
    Problem,
)
from fastbcd.callbacks import Objective


@pytest.mark.parametrize(
    ("n", "expected"),
    [
        (60_000, (500, 0.65 / 3**0.5, 0.9, 5.0, 16)),
        (8000, (200, 0.65 / 3**0.5 * 0.4**0.75, 0.9, 5.0, 16)),
        (100, (16, 0.65 / 3**0.5 * (15 / 500) ** 0.75, 0.9, 5.0, 16)),
    ],
)
def test_what_is_not_given_follows_from_the_samples_and_the_network(n, expected):
    settings = MiniBatchThreeSplitting(Problem((12, 20, 20, 4))).settings(n)
    assert astuple(settings) == pytest.approx(expected)


def test_what_is_given_is_used():
    options = {"momentum": 0.5, "damping": 3.0, "rank": 7}
    given = MiniBatchThreeSplitting(Problem((12, 20, 4)), 2000, 0.1, **options)
    assert astuple(given.settings(60_000)) == (2000, 0.1, 0.5, 3.0, 7)


def test_large_batches_get_less_momentum_and_damping_and_a_higher_rank():
    shallow = MiniBatchThreeSplitting(Problem((12, 20, 4)), 1000).settings(60_000)
    assert astuple(shallow)[2:] == pytest.approx((0.8, 2.5, 64))
    deep = MiniBatchThreeSplitting(Problem((12, *[20] * 15, 4)), 1000).settings(60_000)
    assert astuple(deep)[2:] == pytest.approx((0.9, 5, 16))


def test_few_samples_are_seen_more_often():
    solver = MiniBatchThreeSplitting(Problem((12, 20, 4)))
    assert solver.passes(60_000) == 10
    X, Y = random_data(100)
    assert solver.fit(X, Y).history[-1]["iteration"] == solver.passes(100) == -(-1200 // 7)


def test_settings_count_the_samples_that_batches_have():
    problem = Problem((12, 20, 4))
    few = MiniBatchThreeSplitting(problem, 5000).settings(300)
    assert few.momentum == 0.9
    assert few.step_size == MiniBatchThreeSplitting(problem, 300).settings(300).step_size


def test_with_few_batches_a_pass_each_enters_the_mean():
    X, Y = random_data()
    solver = MiniBatchThreeSplitting(Problem((12, 20, 4)), 300)
    result = solver.fit(X, Y, max_iter=9, callbacks=[Objective()])
    objective = [record["objective"] for record in result.history]
    assert len(set(objective)) == 9
