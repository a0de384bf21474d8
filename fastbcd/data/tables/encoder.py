"""The encoding of tables as a transformer of scikit-learn."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from fastbcd.data.inputs import names_of
from fastbcd.data.tables.column import columns_of
from fastbcd.data.tables.description import column_lines
from fastbcd.data.tables.encoding import BINS, MAX_CATEGORIES, TableEncoding
from fastbcd.errors import InputError


class TableEncoder(TransformerMixin, BaseEstimator):
    """Turns a data frame with categories, gaps, dates and bools into numbers for a network.

    Each column has a kind: number, category, bool, date or ignore. It is inferred, unless `kinds`
    names it. Numbers get mean 0 and variance 1, cut at 5 deviations, except columns of 0 and 1. A
    category becomes columns of 0 and 1. The median goes into gaps of numbers, and gaps of
    categories are a category. Columns are found by name, in any order. docs/tables.md has all
    rules.

    Parameters
    ----------
    kinds : dict of str to str, optional
        Kind of a column by its name; default: all are inferred.
    min_count : int, optional
        Rows that a category needs for a column of its own; default: a hundredth of the rows, but
        from 2 to 10. Rarer ones share a column, and so do those that `fit` did not see.
    max_categories : int, default=50
        A column's categories beyond this number, the least frequent ones, are rare, too.
    scaling : {"clipped", "standard", "none"}, default="clipped"
        Scaling of numbers and dates; "standard" does not cut, "none" leaves them as they are.
    bins : int, default=16
        If one value, such as 0, has half of the rows or more of a column of numbers, the column has
        so many further inputs at most, in steps of the quantiles of the other values. With 0, with
        ``scaling="none"``, or in a table of more than 100 columns there are none.

    Attributes
    ----------
    encoding_ : TableEncoding
        What was learned.
    feature_names_in_ : (c,) array
        Names of the columns; an array's are x0, x1, and so on.
    n_features_in_ : int

    Examples
    --------
    >>> import pandas
    >>> from fastbcd.data import TableEncoder
    >>> cities = ["Rome", "Oslo", "Rome", "Oslo"]
    >>> table = pandas.DataFrame({"age": [20, 30, None, None], "city": cities})
    >>> encoder = TableEncoder().fit(table)
    >>> encoder.get_feature_names_out().tolist()
    ['age', 'age missing', 'city = Oslo', 'city = Rome']
    """

    def __init__(
        self,
        kinds: Mapping[str, str] | None = None,
        *,
        min_count: int | None = None,
        max_categories: int = MAX_CATEGORIES,
        scaling: str = "clipped",
        bins: int = BINS,
    ) -> None:
        self.kinds = kinds
        self.min_count = min_count
        self.max_categories = max_categories
        self.scaling = scaling
        self.bins = bins

    def fit(self, X: Any, y: Any = None) -> TableEncoder:
        """Learn kinds, categories, medians and scales of X.

        Parameters
        ----------
        X : data frame (n, c)
            Of pandas, polars or pyarrow; or an array.
        y : ignored

        Raises
        ------
        InputError
            The message names the column, and what would be right.
        """
        columns = columns_of(X)
        self.encoding_ = TableEncoding.fit(
            columns,
            self.kinds,
            min_count=self.min_count,
            max_categories=self.max_categories,
            scaling=self.scaling,
            bins=self.bins,
        )
        self.n_features_in_ = len(columns)
        self.feature_names_in_ = np.array(list(columns), object)
        return self

    def transform(self, X: Any) -> NDArray[np.float64]:
        """Return the numbers (n, d) for X, whose columns may have any order.

        Columns that `fit` did not see are left out, and logged. A missing column, or a value that
        does not fit the kind of its column, is an `InputError`.
        """
        check_is_fitted(self)
        if names_of(X) is None and np.ndim(X) == 2 and np.shape(X)[1] != self.n_features_in_:
            raise InputError(
                f"X has {np.shape(X)[1]} columns, but had {self.n_features_in_} in training"
            )
        return self.encoding_(columns_of(X))

    def get_feature_names_out(self, input_features: Any = None) -> NDArray[Any]:
        """Return the names (d,) of the numbers; `input_features` is not needed."""
        check_is_fitted(self)
        return np.array(self.encoding_.names(), object)

    def describe(self) -> str:
        """Return a table of what becomes of each column, as text."""
        check_is_fitted(self)
        return "\n".join(column_lines(self.encoding_))

    def state_dict(self) -> dict[str, Any]:
        """Return everything that was learned as plain values, such as JSON holds."""
        check_is_fitted(self)
        return self.encoding_.state_dict()

    @classmethod
    def from_state_dict(cls, stored: dict[str, Any]) -> TableEncoder:
        """Return a fitted encoder of what `state_dict` returned; `InputError` for `stored` else."""
        encoder = cls()
        encoder.encoding_ = TableEncoding.from_state_dict(stored)
        names = [encoding.name for encoding in encoder.encoding_.encodings]
        encoder.n_features_in_, encoder.feature_names_in_ = len(names), np.array(names, object)
        return encoder

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = tags.input_tags.string = tags.input_tags.categorical = True
        return tags
