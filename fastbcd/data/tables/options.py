"""How a table is to be read: what a user may say about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from fastbcd.data.tables.encoding import TableEncoding
from fastbcd.data.tables.target import TASKS
from fastbcd.errors import InputError
from fastbcd.support.parameters import choice


@dataclass(frozen=True)
class TableOptions:
    """The description of a table with columns of any kind, as the user gives it.

    Parameters
    ----------
    kinds : mapping, optional
        Kind of a column by its name: number, category, bool, date or ignore; others are inferred.
    task : {"classification", "regression", "multilabel"}, optional
        What to predict; default: inferred.
    prefer_numbers, prefer_classes : bool, default=False
        Infer that a target of numbers is to be predicted as numbers, or as classes, in any case.
    separator : str, optional
        The character between fields; default: found.
    decimal : {".", ","}, optional
        The character before decimals; default: a comma if all numbers of a column have one, in
        files that are not separated by commas.
    scaling : {"clipped", "standard", "none"}
        Scaling of the columns of numbers, if there are other columns.
    weights : str, optional
        For training: the column with the weights of samples.
    encoding : TableEncoding, optional
        For prediction: that of training.

    Raises
    ------
    InputError
        A value is none of these.
    """

    kinds: Mapping[str, str] = field(default_factory=dict)
    task: str | None = None
    prefer_numbers: bool = False
    prefer_classes: bool = False
    separator: str | None = None
    decimal: str | None = None
    scaling: str = "clipped"
    weights: str | None = None
    encoding: TableEncoding | None = None

    def __post_init__(self) -> None:
        if self.task is not None:
            choice(self.task, TASKS, "task")
        if self.separator is not None and (len(self.separator) != 1 or self.separator in '"\r\n'):
            raise InputError(f"separator must be one character, got {self.separator!r}")
        if self.decimal is not None:
            choice(self.decimal, (".", ","), "decimal")
