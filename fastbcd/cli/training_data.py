"""The samples that ``fastbcd train`` reads, and their labels as numbers."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import Any

from fastbcd.cli.resume import check_same_columns
from fastbcd.cli.solver_options import tile_rows_of
from fastbcd.data import Dataset, load
from fastbcd.data.labels import classes_of, encode, one_hot
from fastbcd.devices.ranks import Ranks, collective_errors
from fastbcd.kernels.streams import logger


def read_data(
    options: argparse.Namespace, before: dict[str, Any] | None, ranks: Ranks, allocate: Any
) -> Dataset:
    """The samples of this rank; `before` is the config.json of a run that goes on."""
    dataset = load(
        options.data,
        target=options.target,
        target_required=options.target is not None,
        test_fraction=options.test_fraction,
        # Runs of earlier versions, which wrote no columns, were trained on row numbers, too.
        index=before is not None and "columns" not in before,
        ranks=ranks,
        allocate=allocate,
        unit=tile_rows_of(options, ranks.size),
    )
    if before is not None:
        with collective_errors(ranks):
            check_same_columns(before, dataset)
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

    def one_hot(self, allocate: Any, dtype: Any) -> Any:
        """Targets of the training samples, in memory from `allocate`."""
        k = len(self.classes)
        return one_hot(self.train, k, out=allocate((len(self.train), k), dtype))
