"""The outputs of a network for inputs that are scaled on the way, in pieces if they are sparse."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastbcd.data.preprocessing import Preprocessing
from fastbcd.devices.sparse_rows import SparseRows
from fastbcd.models.network import Network

# Sparse samples that are scaled at a time, and elements of those that become dense.
ROWS, ELEMENTS = 8192, 2**23


def scaled_outputs(
    network: Network,
    preprocessing: Preprocessing,
    X: NDArray[Any] | SparseRows,
    dtype: Any,
    n_threads: int | None,
) -> NDArray[Any]:
    """Return the outputs (n, k) of `network` for inputs X (n, d), scaled in `dtype`.

    Sparse inputs become dense, a few rows at a time, if the scaling shifts columns or the first
    layer takes no others.
    """
    if not isinstance(X, SparseRows):
        return network.forward(preprocessing(X, dtype), n_threads)
    stays = preprocessing.keeps_zeros and network.layers[0].takes_sparse and not network.residual[0]
    rows = ROWS if stays else max(1, ELEMENTS // X.width)
    parts = (X[start : start + rows] for start in range(0, len(X), rows))
    return np.concatenate(
        [
            network.forward(preprocessing(part if stays else part.toarray(), dtype), n_threads)
            for part in parts
        ]
    )
