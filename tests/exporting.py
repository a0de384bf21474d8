"""Models of every kind, for the tests of exports."""

import itertools

import numpy as np

from fastbcd import MiniBatchThreeSplitting, Model, Network, Problem, one_hot
from fastbcd.data import Preprocessing, load
from fastbcd.data.preprocessing import PREPROCESSINGS
from fastbcd.kernels import ACTIVATIONS, LOSSES, linear
from fastbcd.support.parameters import parse

ACTIVATION_TEXTS = [
    *("relu", "leaky_relu:0.2", "linear", "sigmoid", "tanh", "softplus"),
    "polynomial:0.1,1,-0.05",
]
assert {text.partition(":")[0] for text in ACTIVATION_TEXTS} == set(ACTIVATIONS)
KINDS = list(itertools.product([p for p in PREPROCESSINGS if p != "auto"], [False, True], LOSSES))

# Representable in float32, one feature constant; rows at the end lie far outside of training.
X = np.random.default_rng(0).standard_normal((40, 4)) * [1, 2, 0, 0.5] + [0, 3, 2, -1]
X = np.concatenate([X, X[:2] * 40]).astype(np.float32).astype(np.float64)
TRAINING = X[:40]


def make(activation="relu", kind="clipped", residual=False, loss="squared", **changes):
    """A model with random weights, of widths 4-4-4-3; `changes` replace its parts."""
    rng = np.random.default_rng(1)
    dtype = changes.pop("dtype", "float32")
    k = changes.pop("k", 3)
    last = changes.pop("last", linear())
    W = [0.4 * rng.standard_normal((d, 5)).astype(dtype) for d in (4, 4, k)]
    hidden = parse(activation, ACTIVATIONS, "activation")
    network = Network(W, [hidden, hidden, last], [residual, residual, residual and k == 4])
    parts = {
        "classes": np.arange(k),
        "preprocessing": Preprocessing.fit(TRAINING, kind),
        "loss": loss,
    }
    return Model(network, **{**parts, **changes})


def identity(loss, dtype, activation="linear"):
    """A model whose outputs are its three inputs, or the activation of them."""
    W = np.eye(3, 4, dtype=dtype)
    network = Network([W, W], [parse(activation, ACTIVATIONS, "activation"), linear()], [False] * 2)
    nothing = Preprocessing(np.zeros(1), np.ones(1))
    return Model(network, np.arange(3), nothing, loss=loss)


EXTREME = np.array(
    [
        *([0.0, 0, 0], [1e30, 0, 0], [-1e30, -1e30, 1e30], [1e30, 1e30, -1e30], [3e37] * 3),
        *([3e38, -3e38, 0], [-800, -801, -900], [800, 801, 900], [1e-30, 0, -1e-30], [1e7, 1, 0]),
    ]
)


def on_mnist(folder):
    """A model after one pass over MNIST, and the inputs of its test set."""
    data = load(str(folder))
    preprocessing = Preprocessing.fit(data.X_train)
    solver = MiniBatchThreeSplitting(Problem((784, 500, 500, 10)))
    Y = one_hot(data.y_train.astype(int))
    network = solver.fit(preprocessing(data.X_train, np.float32), Y, max_iter=1).network
    model = Model(network, np.arange(10), preprocessing, loss="squared")
    assert np.mean(model.predict(data.X_test) == data.y_test) > 0.96
    return model, data.X_test
