"""A device in plain NumPy, slow and obvious and without threads: the protocol in its least form.

Products, solves, sums and passes are a line or two of NumPy each. Elementwise kernels are those of
the package, which have their own oracles.
"""

from contextlib import contextmanager

import numpy as np

from fastbcd import kernels
from fastbcd.devices.ranks import SINGLE_PROCESS
from fastbcd.devices.storage.arrays import Storage
from fastbcd.devices.tiles import even_size
from fastbcd.devices.workspace import Workspaces
from fastbcd.kernels.rms_scaling import SETTLED


def with_ones(V):
    return np.hstack([V, np.ones((len(V), 1))])


class PlainTile:
    """Rows of some samples, or of all."""

    def __init__(self, rows, work):
        self.rows, self.work = rows, work

    def wait_for_turn(self):
        pass


class PlainSum:
    def __init__(self, shape):
        self.sum = np.zeros(shape)

    def add(self, tile, part):
        self.sum += part

    def total(self):
        return self.sum


class PlainPool:
    """A pool that lends new memory, full of NaN, each time."""

    def borrow(self, shape):
        return np.full(shape, np.nan)

    def give_back(self, *arrays):
        for array in arrays:
            array[...] = np.nan


class PlainKernels:
    """The kernels of the package, with products and solves in NumPy."""

    def __getattr__(self, name):
        return getattr(kernels, name)

    def product(self, out, A, B, scale, keep):
        out[:] = scale * (A @ B) + (keep * out if keep else 0.0)

    def product_transposed(self, out, A, B, scale, keep):
        self.product(out, A, B.T, scale, keep)

    def transposed_product(self, out, A, B, scale, keep):
        self.product(out, A.T, B, scale, keep)

    def affine(self, out, V, W, bias):
        out[:] = V @ W.T + bias

    def solve_state(self, V, U, W, bias, M, residual):
        V += (U - V @ W.T - bias) @ M

    def state_decrease(self, decrease, V, old, W, kappa, rho, work, sample_weight=None):
        c = np.ones(len(V)) if sample_weight is None else sample_weight
        old -= V
        moved, through = ((A * A).sum(axis=1) for A in (old, old @ W.T))
        decrease += 0.5 * np.sum(c * (kappa * moved + rho * through)), np.sum(c * moved)

    def step_weights(self, W, M, work, directions, size, keep):
        W[:, :-1] *= keep
        W += size * (M - work @ directions)


class PlainSolves:
    symmetric_products = False

    def rows_at_once(self, rows):
        return ()

    def tile_cross(self, tile, total, R, V, number, *sample_weight):
        c = sample_weight[0][:, None] if sample_weight else 1.0
        return (c * R).T @ with_ones(V)

    def add_tile_cross(self, total, product):
        total += product

    def tile_gram(self, tile, total, V, *sample_weight):
        return self.tile_cross(tile, total, with_ones(V), V, 0, *sample_weight)

    def add_tile_gram(self, total, V, product, *sample_weight):
        total += product

    def sum_equations(self, cross, gram):
        pass

    def check_equations(self, W, cross, gram):
        assert np.isfinite(cross).all()

    def ridge(self, system, W, cross, weight, ridge, alpha, decrease):
        free = np.r_[np.ones(W.shape[1] - 1), 0.0]  # the bias is not penalised
        slope = weight * cross - ridge * free * W
        step = np.linalg.solve(weight * system.gram + np.diag(ridge * free + alpha), slope.T).T
        W += step
        if decrease is not None:
            decrease += 0.5 * np.sum(step * (slope + alpha * step)), np.sum(step * step)

    def descent(self, system, W, cross, weight, penalty, alpha, decrease):
        hessian, old = weight * system.gram + alpha * np.eye(W.shape[1]), W.copy()

        def smooth(W):
            step = W - old
            return 0.5 * np.sum((step @ hessian) * step) - weight * np.sum(step * cross)

        for _ in range(5000):
            before = W.copy()
            for j in range(W.shape[1]):
                slope = (W - old) @ hessian[:, j] - weight * cross[:, j]
                W[:, j] -= slope / hessian[j, j]
                if j < W.shape[1] - 1:
                    W[:, j] = [penalty.prox(w, 1.0 / hessian[j, j]) for w in W[:, j]]
            if np.abs(W - before).max() <= 1e-13 * np.abs(W).max():
                break
        if decrease is not None:
            moved = np.sum((W - old) ** 2)
            value = np.vectorize(penalty.value)
            penalties = np.sum(value(old[:, :-1])) - np.sum(value(W[:, :-1]))
            decrease += penalties - smooth(W) + 0.5 * alpha * moved, moved

    def state_operator(self, M, W, k):
        M[:] = W @ np.linalg.inv(k * np.eye(W.shape[1]) + W.T @ W)

    def state_hessian(self, H, W, kappa, rho):
        H[:] = kappa * np.eye(W.shape[1]) + rho * W.T @ W


class PlainBatches:
    weight_rows = 2**31

    def __init__(self, kernels):
        self.kernels = kernels

    def resident(self, data):
        return data

    def rows_of(self, data, index):
        return data[index]

    def take(self, out, data, rows):
        out[:] = data[rows]
        return out

    def planned(self, cache, batches, scalars):
        return zip(batches, scalars, strict=True)

    def run(self, cache, batch, samples, scalars, kind, parts, arrays, sweep):
        sweep(samples, scalars)

    def count(self, total, number, n):
        total += number, n

    def scalar(self, value):
        return value

    def passes(self, first):
        return 4

    def settled(self, status):
        return status == SETTLED

    def is_positive(self, number):
        return number > 0.0

    def renew_metric(self, metric, M):
        """Use the singular vectors of the sketch; the metric's rank is below d."""
        before, d = metric.level, len(metric.Q)
        trace, sketch = metric.trace_sum / metric.batches, metric.sketch / metric.batches
        kept = min(metric.remembered, metric.batches)
        Q, e, _ = np.linalg.svd(sketch, full_matrices=False)
        rest = max(trace - e.sum(), 0.0) / (d - metric.rank)
        metric.level = max(rest + metric.damping * trace / d, e[-1] / metric.ceiling)
        above = np.maximum(e - rest, 0.0)
        left = (metric.level / (metric.level + above)) ** metric.power
        metric.Q[:], metric.directions[:] = Q, (1.0 - left)[:, None] * Q.T
        metric.batches, metric.trace_sum = kept, kept * trace
        metric.sketch[:] = Q * (kept * e)
        if M is not None and metric.level < 0.1 * before:
            M *= metric.level / before
        return True


class PlainDevice:
    name, n_threads = "cpu", 1
    ranks, storage = SINGLE_PROCESS, Storage()

    def __init__(self):
        self.kernels, self.solves = PlainKernels(), PlainSolves()
        self.batches = PlainBatches(self.kernels)
        self.pool, self.work = PlainPool(), Workspaces(np.empty)

    @contextmanager
    def session(self):
        yield

    def as_input(self, data):
        return data

    def array(self, data, dtype):
        return np.ascontiguousarray(data, dtype)

    def empty(self, shape, dtype):
        return np.full(shape, np.nan, dtype)

    def zeros(self, shape, dtype):
        return np.zeros(shape, dtype)

    def copy(self, array):
        return array.copy()

    def numpy(self, array):
        return array

    def blocks(self, array):
        yield slice(0, len(array))

    def scaled(self, out, A, factor):
        out[:] = factor * A

    def work_of_rows(self, tile, V):
        return np.empty((3, V.shape[1]))

    def tile_rows(self, widths, dtype):
        return 2**62

    def for_each_tile(self, n, widths, dtype, body, multiplications=None, arrays=()):
        size = even_size(n, 32)  # several tiles, so that sums over tiles are tested
        for start in range(0, n, size):
            body(PlainTile(slice(start, min(n, start + size)), Workspaces(np.empty)))

    def group_bytes(self, in_cache):
        return in_cache

    def for_each_item(self, items, body):
        for item in items:
            body(item, Workspaces(np.empty))

    def sum(self, shape):
        return PlainSum(shape)

    def largest(self, values, at_least, otherwise):
        return max(values) if max(values) > at_least else otherwise

    def sum_over_ranks(self, array):
        pass

    def same_on_all_ranks(self, W):
        pass

    def penalty_sum(self, penalty, W, *sample_weight):
        return kernels.penalty_sum(penalty, W, *sample_weight)

    def project(self, W, penalty):
        kernels.project(W, penalty)
