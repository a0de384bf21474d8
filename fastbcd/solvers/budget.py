"""The memory that a run needs besides the arrays of samples, for runs out of core."""

from __future__ import annotations

import numpy as np

from fastbcd.devices.protocol import Device
from fastbcd.problem import Problem

# The largest number of work arrays of one thread with a row for each sample of a tile: in the
# blocks, in the certificate for each layer, and for elementwise expressions in the certificate.
TILE_ARRAYS, TILE_ARRAYS_OF_LAYER, TEMPORARY = 12, 2, 4
# The largest number of samples by which a mini-batch run scales its first weights; the bytes of a
# thread's small arrays.
MOST_FIRST, SMALL_ARRAYS = 500, 2**20


def planned_bytes(
    problem: Problem,
    device: Device,
    dtype: np.dtype,
    has_preactivations: bool,
    weights_of_samples: int = 0,
    accelerated: bool = False,
) -> tuple[int, int]:
    """Return ``(work, tile)``: a bound on bytes for all but samples, and the bytes of one tile.

    .. code-block:: text

        weights    5 |W|                                       W, copies, the first draw
                   4 |W|                                       accelerated: two old W, two steps
        solves     8 (5 cross + 4 gram + operator + own gram + sum of all cross)      float64
        a thread   cross + gram of a tile, all cross, tile_rows x width of each work array,
                   and `Layer.thread_bytes` of each layer
        samples    8 weights_of_samples, and a weighted factor for each thread

    cross is the number of elements of W_l, gram the square of its number of columns; both are those
    of the largest layer unless they are summed. A tile has ``tile_rows`` rows of X, Y, V and U, and
    of the differences of V and U in an accelerated run.
    """
    size, widths = dtype.itemsize, problem.widths
    shapes = [layer.weight_shape for layer in problem.layers]
    crosses = [rows * columns for rows, columns in shapes]
    cross, every_cross, widest = max(crosses), sum(crosses), max(columns for _, columns in shapes)
    gram, own_gram = widest**2, 2 * shapes[0][1] ** 2
    rows = device.tile_rows(widths, dtype)
    # The triangle of a Gram matrix and a cross product in one message.
    packed = gram // 2 + cross if device.ranks.size > 1 else 0

    weights = (9 if accelerated else 5) * size * every_cross
    solves = 8 * (5 * cross + 4 * gram + own_gram + every_cross + packed) + size * cross
    # Coordinate descent keeps slopes in float64.
    tile_arrays = (TILE_ARRAYS + TEMPORARY) * max(widths) + TILE_ARRAYS_OF_LAYER * sum(widths)
    tile_arrays += max(widths) if weights_of_samples else 0
    tile_arrays += 2 * max(widths) if accelerated else 0
    thread = size * (cross + gram + every_cross + rows * tile_arrays)
    thread += sum(layer.thread_bytes for layer in problem.layers)

    state = sum(widths[1:]) * (1 + has_preactivations)
    tile = rows * size * (widths[0] + state + widths[-1])
    tile += rows * np.dtype(np.uint16).itemsize * state if accelerated else 0
    return weights + solves + (device.n_threads or 1) * thread + 8 * weights_of_samples, tile


def planned_bytes_of_batches(
    problem: Problem,
    device: Device,
    dtype: np.dtype,
    batch_size: int,
    ranks_of_metrics: tuple[int, int],
    spectral: bool,
    nesterov: bool,
    n: int,
) -> int:
    """Return a bound on the bytes of a mini-batch run on `n` samples, besides these samples.

    The ranks are those of the metrics of inputs and outputs; `spectral` steps need eigenvectors of
    a matrix of all outputs of a layer, and `nesterov` the momentum ahead. The bytes hold weights,
    their means, momentum and directions, metrics, one batch of states and displacements, the order
    of the samples, and the states of the first samples in float64.
    """
    widths, size = problem.widths, dtype.itemsize
    sizes = [rows * columns for rows, columns in (layer.weight_shape for layer in problem.layers)]
    rank, output_rank = ranks_of_metrics
    metrics = 8 * (rank + output_rank) * sum(widths)
    batch = batch_size * (5 * sum(widths) + rank * len(widths))
    # A convolution has an update for each position.
    updates = max(layer.d_out // max(1, layer.weight_shape[0]) for layer in problem.layers)
    thread = size * (max(sizes) + batch_size * updates * output_rank + SMALL_ARRAYS)
    thread += sum(layer.thread_bytes for layer in problem.layers)
    if spectral:
        rows = max(layer.weight_shape[0] // layer.weight_groups for layer in problem.layers)
        thread += size * (max(sizes) + rows * rows) + 8 * 8 * rows * (rows + 1)
    first = 8 * 4 * min(n, max(batch_size, MOST_FIRST)) * max(widths)
    return (
        size * ((6 + nesterov) * sum(sizes) + metrics + batch)
        + (device.n_threads or 1) * thread
        + first
        + 24 * n
    )
