"""Training of a network of PyTorch by mini-batches of this package."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from dataclasses import fields
from typing import Any

import numpy as np

from fastbcd.callbacks import BatchLoss
from fastbcd.devices.execution import Execution
from fastbcd.errors import InputError
from fastbcd.export.support import library
from fastbcd.problem import Problem
from fastbcd.solvers.continuation import continue_from
from fastbcd.solvers.mini_batch import MiniBatchThreeSplitting
from fastbcd.support.floating_point import own_errstate
from fastbcd.support.parameters import optional, require_integer
from fastbcd.torch.chain import Chain
from fastbcd.torch.modules import is_sequential, read
from fastbcd.torch.samples import arrays, inputs_of, loss_for, targets_of
from fastbcd.training.loop import Callback, Result, run

# What users of PyTorch may type -> the keyword here.
WORDS = {"epochs": "max_iter", "lr": "step_size", "learning_rate": "step_size"}
# Keywords of the solver that the module decides.
DECIDED = ("problem", "dtype", "where", "execution")


@own_errstate
def fit(
    module: Any,
    X: Any,
    y: Any = None,
    *,
    loss: Any = None,
    max_iter: int | None = None,
    seed: int = 0,
    callbacks: Iterable[Callback] | None = None,
    sample_weight: Any = None,
    weight_penalty: Any = "none",
    gamma: float = 1.0,
    **solver: Any,
) -> Result:
    """Train a ``torch.nn.Sequential`` in place, by `MiniBatchThreeSplitting`, from its own weights.

    .. code-block:: text

        Linear, Conv2d                           Dense, Conv2d, GroupedConv2d
        MaxPool2d, AvgPool2d                     MaxPool2d, AveragePool2d; windows fill the images
        AdaptiveAvgPool2d(1)                     AveragePool2d, "global"
        Flatten, Sequential                      rows; the modules in it
        ReLU, LeakyReLU, Sigmoid, Tanh,          activation of the layer before
        Softplus, Identity
        Residual, Polynomial,                    as `fastbcd.export` writes them
        ChannelsFirst, ChannelsLast

    Any other module is refused by its name. The last layer has no activation. Every layer with
    weights has a bias, because biases are part of the weights here.

    The parameters stay where they are in memory. So an optimiser, or a ``state_dict``, that holds
    them sees the new numbers. If training ends with an error, they keep the old ones.

    Parameters
    ----------
    module : torch.nn.Sequential
        Its parameters are all float32 or all float64, and lie on the processor.
    X : tensor, array or loader
        Inputs as the module takes them: (n, d), or images (n, C, H, W). Without `y` it is a
        ``DataLoader``, or another iterable, of pairs (x, y). It is read once and kept in memory, so
        random changes of its samples are drawn once. The solver makes its own batches.
    y : tensor or array, optional
        (n,) integers are classes, 0 to k - 1 for k outputs. Floats, (n,) or (n, k), are numbers.
    loss : str or Loss, optional
        See `Problem`. Default: ``"cross_entropy"`` for classes, ``"squared"`` for numbers; the
        latter is half of the squared distance. For several labels of 0 and 1, or one output,
        ``"logistic_ovr"`` is the sum of ``nn.BCEWithLogitsLoss`` over outputs.
    max_iter : int, optional
        Passes over the samples. Default: 10, or as many as make 1200 batches.
    seed : int, default=0
        Seed of the order of samples.
    callbacks : list of Callback, optional
        Default: `fastbcd.callbacks.BatchLoss`, so that each record of the history has a loss.
    sample_weight : (n,) array, optional
        As in `MiniBatchThreeSplitting.init`.
    weight_penalty : str, Penalty, or one for each layer, default="none"
        See `Problem`; pools are layers, too.
    gamma : float, default=1
        See `Problem`.
    **solver
        Keywords of `MiniBatchThreeSplitting`: ``batch_size``, ``step_size``, ``weight_decay``,
        ``augment``, ``n_threads``, ``memory`` and so on.

    Returns
    -------
    Result
        Its ``history`` has a record for each pass, its ``network`` the trained `Network`.

    Raises
    ------
    InputError
        A module has no counterpart, the samples do not fit, or a parameter is not valid. The
        message names the module or the parameter.
    TypeError
        A keyword is unknown.

    Notes
    -----
    What is copied: the weights, once each way, because a weight and its bias are one array here,
    and because convolutions have their channels last. Images (n, C, H, W) are copied unless they
    have one channel or the memory format ``torch.channels_last``. Other inputs, and numbers as
    targets, stay where they are. So X may be a memory-mapped array of rows (``numpy.memmap``),
    which is read a batch at a time.

    The scale of inputs and of initial weights is the module's own. Standardise X as for any other
    optimiser.

    Examples
    --------
    >>> import torch
    >>> from fastbcd.torch import fit
    >>> X = torch.randn(200, 5)
    >>> y = (X[:, 0] > 0).long()
    >>> module = torch.nn.Sequential(torch.nn.Linear(5, 8), torch.nn.ReLU(), torch.nn.Linear(8, 2))
    >>> result = fit(module, X, y, max_iter=3)
    >>> len(result.history)
    3
    """
    _check_keywords(solver)
    max_iter = optional(require_integer, max_iter, "max_iter", at_least=0)
    _check_module(module)
    inputs, targets = arrays(X, y)
    chain = read(module, inputs.shape[1:])
    problem = _problem(chain, loss_for(loss, targets), weight_penalty, gamma)
    rows = inputs_of(inputs, chain)
    Y = targets_of(targets, problem.widths[-1], chosen=loss is not None)
    weights = [step.weights() for step in chain.steps]
    trainer = MiniBatchThreeSplitting(problem, dtype=_dtype(chain), **solver)
    state = trainer.init(rows, Y, seed=seed, passes=max_iter, sample_weight=sample_weight)
    continue_from(trainer, state, weights)
    passes = trainer.passes(state.n_total) if max_iter is None else max_iter
    result = run(trainer, state, passes, [BatchLoss()] if callbacks is None else callbacks)
    for step, W in zip(chain.steps, result.network.W, strict=True):
        step.write(W)
    return result


def _check_keywords(given: dict[str, Any]) -> None:
    """`TypeError` for a keyword that the solver does not have."""
    own = inspect.signature(MiniBatchThreeSplitting).parameters
    known = [*own, *(field.name for field in fields(Execution))]
    known = [name for name in known if name not in DECIDED]
    for name in given:
        if name in WORDS:
            raise TypeError(f"fit() has no keyword {name!r}; it is called {WORDS[name]!r} here")
        if name not in known:
            raise TypeError(f"fit() has no keyword {name!r}; known: {', '.join(known)}")


def _check_module(module: Any) -> None:
    if not is_sequential(module):
        kind, is_module = type(module).__name__, isinstance(module, library("torch").nn.Module)
        hint = "; write torch.nn.Sequential(module)" if is_module else ""
        raise InputError(f"module must be a torch.nn.Sequential, got {kind}{hint}")


def _dtype(chain: Chain) -> np.dtype:
    """Return the type of the parameters."""
    layers = (step for step in chain.steps if step.layer.has_weights)
    return np.dtype(next(layers).module.weight.detach().numpy().dtype)


def _problem(chain: Chain, loss: Any, weight_penalty: Any, gamma: float) -> Problem:
    steps = chain.steps
    return Problem(
        activation=[step.activation for step in steps[:-1]],
        loss=loss,
        gamma=gamma,
        weight_penalty=weight_penalty,
        residual=[step.residual for step in steps],
        layers=[step.layer for step in steps],
    )
