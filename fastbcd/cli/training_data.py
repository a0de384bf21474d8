"""The samples that ``fastbcd train`` reads, and their targets as numbers."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from fastbcd.callbacks import Accuracy, Callback, NumberScores
from fastbcd.callbacks.measurements import accuracy
from fastbcd.cli.resume import check_same_columns
from fastbcd.cli.solver_options import LOSS, LOSS_OF_LABELS, tile_rows_of
from fastbcd.cli.table_options import choose_for_table, table_options
from fastbcd.cli.trials import holds_trials
from fastbcd.data import Dataset, load
from fastbcd.data.class_weight import balanced_weights
from fastbcd.data.label_columns import check_both_occur, loss_of_labels
from fastbcd.data.labels import classes_of, encode, one_hot
from fastbcd.data.reading import share
from fastbcd.data.table import is_table
from fastbcd.data.tables.target import LABELS, NUMBERS
from fastbcd.data.target_scaling import fit_target_scaling
from fastbcd.data.validation import check_some_weight, targets_fit
from fastbcd.devices.ranks import Ranks, collective_errors
from fastbcd.errors import InputError
from fastbcd.kernels import LOSSES, TARGETS
from fastbcd.kernels.streams import logger
from fastbcd.models.means import means
from fastbcd.support.parameters import parse


def read_data(
    options: argparse.Namespace, before: dict[str, Any] | None, ranks: Ranks, allocate: Any
) -> Dataset:
    """The samples of this rank; `before` is the config.json of a run that goes on."""
    # Runs of earlier versions know tables of numbers only.
    earlier = before is not None and "column" not in before
    with collective_errors(ranks):
        table = None if earlier else table_options(options)
    read = partial(
        load,
        options.data,
        target=options.target,
        target_required=options.target is not None,
        test_fraction=options.test_fraction,
        # Runs of earlier versions, which wrote no columns, were trained on row numbers, too.
        index=before is not None and "columns" not in before,
        table=table,
    )
    if table is None or options.data is None or not is_table(Path(options.data)):
        unit = tile_rows_of(options, ranks.size)
        dataset = read(ranks=ranks, allocate=allocate, unit=unit)
    else:
        with collective_errors(ranks):
            dataset = read()
        choose_for_table(options, dataset, holds_trials(options, dataset.n_train))
        if ranks.size > 1 or allocate is not None:
            unit = tile_rows_of(options, ranks.size)
            dataset = share(dataset, ranks, np.empty if allocate is None else allocate, unit)
    with collective_errors(ranks):
        if dataset.weight_train is not None:
            parts = ranks.gather(dataset.weight_train)
            check_some_weight(np.concatenate(parts), f"--weights {options.weights}")
        if before is not None:
            check_same_columns(before, dataset)
        if options.task is not None and options.task != dataset.task:
            raise InputError(f"--task {options.task} needs a table; the data have labels")
    return dataset


@dataclass
class Labels:
    """The classes of all ranks, sorted, and the index of each sample's class."""

    classes: Any
    train: Any
    test: Any

    @classmethod
    def of(cls, dataset: Dataset, ranks: Ranks) -> Labels:
        """The labels of `dataset` as indices; `dataset` gives its own up, to save memory."""
        classes = classes_of(dataset.y_train, ranks, dataset.name)
        with collective_errors(ranks):
            train = encode(dataset.y_train, classes, "training set")
            test = encode(dataset.y_test, classes, "test set")
        dataset.y_train = dataset.y_test = None
        if 0 in ranks.gather(len(train)) and ranks.rank == 0:
            logger.warning("some ranks have no training samples: use fewer, or smaller --tile-rows")
        return cls(classes, train, test)

    @property
    def n_outputs(self) -> int:
        """The number of outputs of a network for these targets."""
        return len(self.classes)

    def network_targets(self, allocate: Any, dtype: Any) -> Any:
        """Targets of the training samples, in memory from `allocate`."""
        k = len(self.classes)
        return one_hot(self.train, k, out=allocate((len(self.train), k), dtype))

    def scores(self, X_train: Any, X_test: Any, every: int) -> list[Callback]:
        """Callbacks that measure how good predictions are."""
        return [
            Accuracy("train", X_train, self.train, every),
            Accuracy("test", X_test, self.test, every),
        ]

    def of_model(self) -> dict[str, Any]:
        """Arguments of `Model` that describe the targets."""
        return {"classes": self.classes}

    def balanced(self, ranks: Ranks, weight: Any) -> Any:
        """Weights (n,) of the training samples with which all classes weigh the same together.

        They are products with those, (n,) or None, that the samples have already.
        """
        return balanced_weights(self.train, len(self.classes), ranks, weight)

    def groups(self) -> Iterator[tuple[str, Any]]:
        """Yield what to call each class, and the rows of its training samples."""
        for k, label in enumerate(self.classes.tolist()):
            yield f"the class {label!r}", np.flatnonzero(self.train == k)

    def give_up(self, held: Any) -> Any:
        """Take the `held` (n,) training samples out, and return their targets of the network."""
        Y = one_hot(self.train[held], len(self.classes))
        self.train = self.train[~held]
        return Y

    def score(self, outputs: Any, Y: Any, weight: Any) -> float:
        """The accuracy of outputs (n, k)."""
        return float(np.mean(outputs.argmax(axis=1) == Y.argmax(axis=1)))


@dataclass
class Numbers:
    """Targets (n, k) of a regression, scaled to mean 0 and variance 1, or to mean 1 for counts."""

    train: Any
    test: Any
    shift: Any
    scale: Any
    loss: str

    @classmethod
    def of(cls, dataset: Dataset, loss: Any, ranks: Ranks) -> Numbers:
        """The targets of `dataset` for a `Loss`; `dataset` gives its own up, to save memory."""
        name = ", ".join(dataset.targets)
        with collective_errors(ranks):
            if not loss.is_for_numbers:
                names = ", ".join(each for each in LOSSES if LOSSES[each]().is_for_numbers)
                raise InputError(f"--loss: {loss.name} is for classes; for numbers: {names}")
            train, test = (_for_levels(Y, loss) for Y in (dataset.y_train, dataset.y_test))
            weight = dataset.weight_train
            shift, scale = fit_target_scaling(train, loss.log_link, weight, ranks, name)
            if not (targets_fit(train, loss) and targets_fit(test, loss)):
                raise InputError(f"--loss: {loss.name} needs {TARGETS[loss.targets]}: {name}")
        start = 0.0 if shift is None else shift
        dataset.y_train = dataset.y_test = None
        return cls((train - start) / scale, (test - start) / scale, shift, scale, loss.name)

    @property
    def n_outputs(self) -> int:
        """The number of outputs of a network for these targets."""
        return int(self.train.shape[1])

    def network_targets(self, allocate: Any, dtype: Any) -> Any:
        """Targets of the training samples, in memory from `allocate`."""
        out = allocate(self.train.shape, dtype)
        out[...] = self.train
        return out

    def scores(self, X_train: Any, X_test: Any, every: int) -> list[Callback]:
        """Callbacks that measure how good predictions are."""
        train, test = self.train.astype(X_train.dtype), self.test.astype(X_test.dtype)
        return [
            NumberScores("train", X_train, train, every),
            NumberScores("test", X_test, test, every),
        ]

    def of_model(self) -> dict[str, Any]:
        """Arguments of `Model` that describe the targets."""
        return {"classes": None, "target_shift": self.shift, "target_scale": self.scale}

    def balanced(self, ranks: Ranks, weight: Any) -> Any:
        """`InputError`: there are no classes."""
        raise InputError("--class-weight is for classes, and the target holds numbers")

    def groups(self) -> Iterator[tuple[str, Any]]:
        """Yield one group: all training samples."""
        yield "the table", np.arange(len(self.train))

    def give_up(self, held: Any) -> Any:
        """Take the `held` (n,) training samples out, and return their targets."""
        Y, self.train = self.train[held], self.train[~held]
        return Y

    def score(self, outputs: Any, Y: Any, weight: Any) -> float:
        """R^2 of outputs (n, k): the mean over the targets."""
        from sklearn.metrics import r2_score  # takes a second to load

        return float(r2_score(Y, means(self.loss, outputs.astype(np.float64))))


@dataclass
class LabelColumns:
    """Labels (n, k) of 0 and 1, of which a sample has any number, and their names."""

    names: list[str]
    train: Any
    test: Any

    @classmethod
    def of(cls, dataset: Dataset, ranks: Ranks) -> LabelColumns:
        """The labels of `dataset`, which gives its own up; `InputError` if one is constant."""
        train, test = dataset.y_train, dataset.y_test
        with collective_errors(ranks):
            check_both_occur(np.concatenate(ranks.gather(train)), dataset.name, dataset.targets)
        dataset.y_train = dataset.y_test = None
        return cls(dataset.targets, train, test)

    @property
    def n_outputs(self) -> int:
        """The number of outputs of a network for these targets."""
        return len(self.names)

    def network_targets(self, allocate: Any, dtype: Any) -> Any:
        """Targets of the training samples, in memory from `allocate`."""
        out = allocate(self.train.shape, dtype)
        out[...] = self.train
        return out

    def scores(self, X_train: Any, X_test: Any, every: int) -> list[Callback]:
        """Callbacks that measure how good predictions are."""
        return [
            Accuracy("train", X_train, self.train, every),
            Accuracy("test", X_test, self.test, every),
        ]

    def of_model(self) -> dict[str, Any]:
        """Arguments of `Model` that describe the targets."""
        return {"classes": np.array(self.names), "multi_label": True}

    def balanced(self, ranks: Ranks, weight: Any) -> Any:
        """`InputError`: a sample is not of one class."""
        raise InputError("--class-weight is for samples of one class, and there are several labels")

    def groups(self) -> Iterator[tuple[str, Any]]:
        """Yield one group: all training samples."""
        yield "the table", np.arange(len(self.train))

    def give_up(self, held: Any) -> Any:
        """Take the `held` (n,) training samples out, and return their targets of the network."""
        Y, self.train = self.train[held], self.train[~held]
        check_both_occur(self.train, "--early-stopping", self.names)
        return Y

    def score(self, outputs: Any, Y: Any, weight: Any) -> float:
        """The accuracy of outputs (n, k): the share of samples all of whose labels are right."""
        return accuracy(outputs, Y)


Targets = Labels | Numbers | LabelColumns


def targets_of(dataset: Dataset, options: argparse.Namespace, ranks: Ranks) -> Targets:
    """The targets of `dataset`, which gives its own up; ``--loss`` gets the default for them."""
    if options.loss is None:
        options.loss = LOSS_OF_LABELS if dataset.task == LABELS else LOSS
    if dataset.task == LABELS:
        with collective_errors(ranks):
            options.loss = loss_of_labels(options.loss)
        return LabelColumns.of(dataset, ranks)
    if dataset.task != NUMBERS:
        return Labels.of(dataset, ranks)
    return Numbers.of(dataset, parse(options.loss, LOSSES, "loss"), ranks)


def _for_levels(Y: Any, loss: Any) -> Any:
    """Repeat one target (n, 1) for each level of a quantile loss."""
    levels = loss.n_outputs or 1
    return np.repeat(Y, levels, axis=1) if Y.shape[1] == 1 else Y
