"""Calls of the GPU's kernels with their expected results, for simulator, link check and GPU.

A case names a function that `fastbcd.kernels` and `fastbcd.kernels.cuda` share, and its arguments.
After both calls every array and the returned number must agree. A kernel that only the GPU has
comes with a NumPy function instead.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from fastbcd import kernels
from fastbcd.kernels.patches import transposed_window
from fastbcd.kernels.rms_scaling import NOT_FINITE
from fastbcd.layers import AveragePool2d, Conv2d

M, D, K = 7, 11, 3
# A number, and the same as an element on the GPU.
NUMBERS = 1.5, np.array([1.5])
# Factors of a result and of what is there before; a factor may be an element on the GPU.
SPREADS = (0.7, 0.0), (np.array([0.7]), 0.5)
ACTIVATIONS = {
    "relu": kernels.relu(),
    "leaky_relu": kernels.leaky_relu(0.2),
    "linear": kernels.linear(),
    "sigmoid": kernels.sigmoid(),
    "tanh": kernels.tanh(),
    "softplus": kernels.softplus(),
    "polynomial": kernels.polynomial(0.1, 1.0, 0.5, -0.2),
}
LOSSES = {name: loss() for name, loss in kernels.LOSSES.items()}
LOSSES["cross_entropy"] = kernels.cross_entropy(0.1)  # with smoothing it runs some lines more
PENALTIES = {
    "none": kernels.none(),
    "ridge": kernels.ridge(0.3),
    "l1": kernels.l1(0.2),
    "elastic_net": kernels.elastic_net(0.3, 0.4),
    "nonnegative": kernels.nonnegative(),
    "box": kernels.box(-0.5, 0.75),
}


class Work:
    """Work space, which is not compared: (rows, k) on the CPU, that for each sample on the GPU."""

    def __init__(self, cpu: tuple[int, ...], gpu: tuple[int, ...]) -> None:
        self.cpu, self.gpu = cpu, gpu


def is_rare(case: Case, dtype: str) -> bool:
    """Return whether a quick check may leave the case out, because others run the same code.

    One formula of each kind runs in float64 and in all variants of a kernel (residual layers,
    decreases), the others in float32 and in the first variant. Kernels of images move numbers, or
    compute in float64 whatever their type is; so they run in float32.
    """
    if case.of_images and dtype == "float64":
        return True
    formula, *variants = case.name.split(", ")
    known = {*ACTIVATIONS, *LOSSES, *PENALTIES} - {"tanh", "squared", "l1"}
    return formula in known and (dtype == "float64" or bool(variants))


@dataclass
class Case:
    """A call of `function` of both namespaces, or of `expected` in place of the CPU's."""

    name: str
    function: str
    arguments: tuple[Any, ...]
    expected: Callable[..., Any] | None = None
    tolerance: float = 4.0
    """Tolerance in units of the type's eps, relative to the largest element of each array."""
    f64: bool = False
    """True if it computes in float64 by intention: sums, proxes of losses, penalties."""
    of_images: bool = False
    """True for the kernels of convolutions and pools."""


def normals(rng: np.random.Generator, dtype: Any) -> Callable[..., Any]:
    """Return a function that draws normal numbers of a type, in an array of the shape it gets."""
    return lambda *shape: rng.standard_normal(shape).astype(dtype)


def targets(loss: Any, rng: np.random.Generator, dtype: Any, M: int) -> Any:
    k = 1 if loss.targets == "two classes" else K
    if loss.is_for_numbers:
        Y = rng.standard_normal((M, k)).astype(dtype)
        whole = {"not negative": np.floor(abs(3 * Y)), "positive": np.ceil(abs(3 * Y))}
        return whole.get(loss.targets, Y)
    if k == 1:
        return rng.integers(0, 2, (M, 1)).astype(dtype)
    return np.eye(k, dtype=dtype)[rng.integers(0, k, M)]


def cases(dtype: Any, M: int = M, D: int = D) -> Iterator[Case]:
    """Yield calls of every kernel with every formula, in one type, for M samples and D units."""
    dtype = np.dtype(dtype)
    rng = np.random.default_rng(0)

    normal, doubles = normals(rng, dtype), normals(rng, np.float64)
    for name, act in ACTIVATIONS.items():
        polynomial = name == "polynomial"
        for below in (None, normal(M, D)):
            tag = f"{name}{'' if below is None else ', residual'}"
            yield Case(tag, "activate", (normal(M, D), act, normal(M, D), below))
            center = (normal(M, D), act, normal(M, D), below)
            above = (act, normal(M, D), None if below is None else normal(M, D))
            yield Case(tag, "state_center", (*center, *above, 0.7))
            for decrease in (None, np.array([0.5, 0.25])):
                arguments = (normal(M, D), act, normal(M, D), below, normal(M, D))
                yield Case(
                    f"{tag}{'' if decrease is None else ', decrease'}",
                    "update_preactivation",
                    (*arguments, 1.5, 0.75, 0.1, decrease),
                    f64=polynomial or decrease is not None,
                    tolerance=64.0,
                )
            yield Case(
                tag, "activation_residual", (act, normal(M, D), normal(M, D), below), f64=True
            )
        yield Case(name, "coupling_residual", (normal(M, D), act, normal(M, D), normal(M, D), None))
        yield Case(
            name, "activate_augmented", (normal(M, D + 1), act, normal(M, D), None), f64=True
        )
        small = (normal(M, D) * dtype.type(1e-2), None, normal(M, D), act, 1.0, 2.0)
        yield Case(name, "displacement", small, tolerance=2048.0, f64=True)
        kept = (normal(M, D) * dtype.type(1e-2), normal(M, D), normal(M, D), act, 1.0, 2.0)
        yield Case(f"{name}, kept", "displacement", kept, tolerance=2048.0, f64=True)
        coupled = (act, normal(M, D), normal(M, D), normal(M, D), 1.5, 0.75)
        yield Case(name, "preactivation_subgradient", coupled, f64=True)
        yield Case(name, "surrogate_residual", (normal(M, D), act, normal(M, D), normal(M, D), 1.0))
        yield Case(name, "curvature_bound", (act, normal(M, D), normal(M, D)), f64=True)
        steps = np.array([0.0, 2.0, 1.0, 0.5])
        sums = (doubles(4, D), act, normal(M, D), normal(M, D), normal(M, D), steps)
        yield Case(name, "add_row_sums", sums, f64=True, tolerance=64.0)
        for penalty in ("none", "l1") if name in ("relu", "tanh") else ("none",):
            P = PENALTIES[penalty]
            tag = name if penalty == "none" else f"{name}, {penalty}"
            Z = normal(M, D)
            through = (Z, normal(M, D), act, normal(M, D), P, 1.5, 0.75)
            states = (normal(M, 4), normal(M, 4), normal(M, 4))
            yield Case(tag, "search_states", (*states, *through), f64=True, tolerance=64.0)
            terms = (normal(M, 4), normal(M, 4), P, normal(M, D), act, normal(M, D), 0.75)
            yield Case(tag, "state_terms", terms, f64=True, tolerance=64.0)

    for name, loss in LOSSES.items():
        Y = targets(loss, rng, dtype, M)
        k = Y.shape[1]
        work = Work((3, k), (3, k, M))
        for below in (None, normal(M, k)):
            tag = f"{name}{'' if below is None else ', residual'}"
            exact = (normal(M, k), loss, normal(M, k), below, Y, 1.0, 1.5, 0.25, 0.1, work)
            yield Case(tag, "update_output_state", exact, f64=True, tolerance=16.0)
            numbers = (1.0, 1.5, 0.25, work)
            penalised = (normal(M, k), loss, PENALTIES["l1"], normal(M, k), below, Y, *numbers)
            yield Case(tag, "update_output_state_penalised", penalised, f64=True, tolerance=16.0)
            if loss.lipschitz is not None:
                linear = (normal(M, k), loss, PENALTIES["none"], normal(M, k), below, Y, *numbers)
                yield Case(tag, "update_output_state_linearised", linear, f64=True, tolerance=16.0)
            terms = (loss, PENALTIES["ridge"], normal(M, k), normal(M, k), below, Y, 1.0, 1.5)
            yield Case(tag, "output_terms", terms, f64=True, tolerance=64.0)
        yield Case(name, "loss_sum", (loss, normal(M, k), Y), f64=True, tolerance=64.0)
        weighted = (loss, normal(M, k), Y, rng.random(M))
        yield Case(name, "weighted_loss_sum", weighted, f64=True, tolerance=64.0)
        slopes = (loss, PENALTIES["l1"], normal(M, k), normal(M, k), Y, Work((3, k), (3, k, M)))
        yield Case(name, "output_subgradient", slopes, f64=True, tolerance=64.0)

    for name, penalty in PENALTIES.items():
        W = normal(M, D + 1)
        if name == "nonnegative":
            W = abs(W)
        elif name == "box":
            W = np.clip(W, -0.5, 0.75)
        yield Case(name, "penalty_sum", (penalty, W[:, :-1]), f64=True)
        yield Case(name, "project", (normal(M, D + 1)[:, :-1], penalty), f64=True)
        gradient = (penalty, W[:, :-1], doubles(M, D + 1)[:, :-1])
        yield Case(name, "penalty_subgradient", gradient, f64=True)
        sums = (normal(M, D + 1), normal(M, D + 1), doubles(4, M) ** 2, np.array([0, 2.0, 1, 0.5]))
        searched = (W.copy(), *sums[1:], penalty, 0.75, 0.1, np.zeros(2))
        yield Case(name, "search_rows", searched, f64=True, tolerance=64.0)
        yield Case(
            name,
            "prox_weights",
            (normal(M, D + 1), penalty, np.array([0.4])),
            expected=lambda W, p, length: kernels.prox_weights(W, p, float(length[0])),
            f64=True,
        )
        A = doubles(D + 1, D + 1)
        H = A @ A.T / D + np.eye(D + 1)
        for decrease in (None, np.zeros(2)):
            blocks = Work((D + 1,), (M, D + 1))
            yield Case(
                f"{name}{'' if decrease is None else ', decrease'}",
                "coordinate_descent",
                (
                    W.copy(),
                    penalty,
                    H,
                    doubles(M, D + 1),
                    0.5,
                    1,
                    1e-7,
                    100,
                    blocks,
                    blocks,
                    decrease,
                ),
                f64=True,
                tolerance=64.0,
            )

    yield from of_extrapolation(dtype, rng, M, D)
    yield Case("", "squared_norm", (normal(M, D),), f64=True)
    yield Case("", "squared_distance", (normal(M, D), normal(M, D)), f64=True)
    yield Case("", "proximal_center", (normal(M, D), normal(M, D), normal(M, D), 1.5, 0.5))
    yield Case("int64", "gather", (normal(4, D), normal(M, D), np.array([5, 0, 6, 0])))
    bytes_ = rng.integers(0, 255, (M, D)).astype(np.uint8)
    yield Case("uint8", "gather", (normal(4, D + 1)[:, :-1], bytes_, np.array([5, 0, 6, 0])))
    yield Case("", "scale_rows", (normal(M, D), rng.random(M)), f64=True)
    yield Case("", "mean_of_weights", (normal(M, D), normal(M, D), 0.02))
    yield Case(
        "", "add_gram", (doubles(D + 1, D + 1), normal(M, D), normal(D, D), doubles(D)), f64=True
    )
    yield Case("", "add_cross", (doubles(K, D + 1), normal(K, D), doubles(K)), f64=True)

    grams = (doubles(D + 1, D + 1), normal(M, D), normal(2, D, D), doubles(D))
    yield Case("parts", "add_gram", grams, expected=of_parts(kernels.add_gram, 2), f64=True)
    crosses = (doubles(K, D + 1), normal(2, K, D), doubles(K))
    yield Case("parts", "add_cross", crosses, expected=of_parts(kernels.add_cross, 1), f64=True)

    yield from of_the_gpu(dtype, rng, M, D)
    of_images = (of_convolutions(dtype, rng, M), of_pooling(dtype, rng, M))
    for case in itertools.chain(*of_images, of_state_descent(dtype, rng, M, D)):
        yield replace(case, of_images=True)


def named_cases() -> dict[str, Case]:
    """Return the cases of both types by names for tests."""
    types = ("float32", "float64")
    return {f"{case.function}[{case.name}]-{t}": case for t in types for case in cases(t)}


def of_extrapolation(dtype: Any, rng: np.random.Generator, M: int, D: int) -> Iterator[Case]:
    """Yield calls of the kernels that move states along a difference in bfloat16."""

    normal = normals(rng, dtype)
    bits = (rng.standard_normal((M, D)).astype(np.float32).view(np.uint32) >> 16).astype(np.uint16)
    yield Case("", "extrapolate", (normal(M, D), bits, 0.75, None, None))
    for name in ("nonnegative", "box"):
        inside = np.clip(normal(M, D), 0.0, 0.5).astype(dtype)
        last = normal(M, D)
        yield Case(name, "extrapolate", (inside, bits, 0.75, PENALTIES[name], last), f64=True)
    yield Case("", "before_extrapolation", (normal(M, D), normal(M, D), bits, 0.75))
    V, P = normal(M, D), normal(M, D)
    V[0, :3] = P[0, :3] + np.array([1.0 + 2.0**-8, -(1.0 + 3 * 2.0**-8), 0.0], dtype)  # near ties
    yield Case("", "difference", (bits, V, P), f64=True, tolerance=64.0)


def of_parts(add: Callable[..., None], place: int) -> Callable[..., None]:
    """Return `add` for the sum of the products in the argument at that place."""

    def call(*arguments: Any) -> None:
        before, work, after = arguments[:place], arguments[place], arguments[place + 1 :]
        add(*before, work.sum(0, dtype=np.float64).astype(work.dtype), *after)

    return call


def with_numbers(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return `function` for calls with arrays (1,) in place of numbers, as the GPU has them."""

    def call(*arguments: Any) -> Any:
        single = [getattr(a, "shape", None) == (1,) for a in arguments]
        return function(*(float(a[0]) if s else a for a, s in zip(arguments, single, strict=True)))

    return call


def place_pixels(V: Any, S: Any, window: Any, back: Any, scale: float, keep: float) -> None:
    """`fastbcd.kernels.cuda.place_pixels` by its definition, one pixel after the other."""
    m, C = len(V), window.channels
    images, old = V.reshape(m, window.height, window.width, C), keep * V if keep else 0 * V
    by_q = S.reshape(m, back.rows, back.columns, window.step_y, window.step_x, C)
    V[:] = old
    for y, x in np.ndindex(window.height, window.width):
        q_y, r_y = divmod(y - window.first_y, window.step_y)
        q_x, r_x = divmod(x - window.first_x, window.step_x)
        # Patch q begins so many positions before q.
        q_y -= back.first_y + back.patch_height - 1
        q_x -= back.first_x + back.patch_width - 1
        images[:, y, x] += V.dtype.type(scale) * by_q[:, q_y, q_x, r_y, r_x]


def of_convolutions(dtype: Any, rng: np.random.Generator, M: int) -> Iterator[Case]:
    """Yield calls of kernels that move numbers between images, patches and products."""

    normal = normals(rng, dtype)
    # A stride that does not divide the kernel, and one beyond it: some pixels have no patch.
    for name, stride in (("overlap", (2, 1)), ("gaps", (4, 3))):
        layer = Conv2d((5, 4, 2), 3, (3, 2), stride, (1, 1))
        window, positions = layer.shapes.window, M * layer.shapes.n_positions
        patches = normal(positions, layer.shapes.patch)
        yield Case(name, "gather_patches", (patches, normal(M, layer.d_in), window))
        W = normal(layer.channels, layer.shapes.patch + 1)[:, :-1]
        transposed = np.zeros_like(kernels.transposed_weights(W, window))

        def write_transposed_weights(out: Any, W: Any, window: Any) -> None:
            out[:] = kernels.transposed_weights(W, window)

        weights = (transposed, W, window)
        yield Case(name, "write_transposed_weights", weights, write_transposed_weights)
        back = transposed_window(window, layer.channels)
        S = normal(M * back.rows * back.columns, transposed.shape[1])
        for scale, keep in SPREADS:
            pixels = (normal(M, layer.d_in), S, window, back, scale, keep)
            yield Case(f"{name}, {keep}", "place_pixels", pixels, with_numbers(place_pixels))

    def scaled_sums(out: Any, sums: Any, scale: float, keep: float) -> None:
        out[:] = scale * sums + (keep * out if keep else 0.0)

    for scale, keep in SPREADS:
        sums = (normal(K, 5)[:, -1:], rng.standard_normal((K, 1)), scale, keep)
        yield Case(f"{keep}", "scaled_sums", sums, with_numbers(scaled_sums), f64=True)


def of_pooling(dtype: Any, rng: np.random.Generator, M: int) -> Iterator[Case]:
    """Yield calls of the kernels of pooling layers and of the blocks below them."""
    layer = AveragePool2d((4, 6, 2), (2, 3))
    window, d, d_out = layer.shapes.window, layer.d_in, layer.d_out

    normal = normals(rng, dtype)
    yield Case("", "mean_of_windows", (normal(M, d_out), normal(M, d), window), f64=True)
    yield Case("", "maximum_of_windows", (normal(M, d_out), normal(M, d), window))
    for scale, keep in SPREADS:
        means = (normal(M, d), normal(M, d_out), window, scale, keep)
        yield Case(f"{keep}", "spread_means", means, with_numbers(kernels.spread_means))
        ties = np.round(normal(M, d))
        maxima = (normal(M, d), normal(M, d_out), ties, window, scale, keep)
        yield Case(f"{keep}", "spread_maxima", maxima, with_numbers(kernels.spread_maxima))
    kappa = 0.5 + rng.random(d)
    for name, penalty in PENALTIES.items():
        for decrease in (None, np.array([0.5, 0.25])):
            tag = f"{name}{'' if decrease is None else ', decrease'}"
            numbers = (kappa, 1.5, decrease)
            below = (normal(M, d), normal(M, d), normal(M, d_out), window, penalty)
            if name in ("ridge", "l1"):
                mean = (*below, penalty.ridge, *numbers)
                yield Case(tag, "solve_below_mean", mean, f64=True, tolerance=64.0)
                most = (*below, *numbers)
                yield Case(tag, "solve_below_maximum", most, f64=True, tolerance=64.0)
        if name in ("l1", "box"):
            ties = np.round(normal(M, d)).clip(-0.5, 0.75).astype(dtype)
            slopes = (penalty, ties, normal(M, d), normal(M, d_out), window)
            yield Case(name, "subgradient_below_maximum", slopes, f64=True, tolerance=64.0)


def of_state_descent(dtype: Any, rng: np.random.Generator, M: int, D: int) -> Iterator[Case]:
    """Yield calls of the kernels that descend in the states below a convolution."""

    normal = normals(rng, dtype)
    kappa = (0.5 + rng.random(D)).astype(dtype)
    for tag, rho in zip(("number", "array"), NUMBERS, strict=True):
        slope = (normal(M, D), normal(M, D), normal(M, D), kappa, rho)
        yield Case(tag, "state_slope", slope, with_numbers(kernels.state_slope))
    yield Case("", "row_squares", (np.zeros(M), normal(M, D)), f64=True)
    for rho, decrease in zip(NUMBERS, (None, np.array([0.5, 0.25])), strict=True):
        tag = "" if decrease is None else "decrease"
        P = normal(M, D)
        HP, squares, least = (P + 0.1 * normal(M, D)).astype(dtype), rng.random(M), np.zeros(M)
        HP[0], least[1] = -9 * P[0], 2.0  # one sample without curvature, one at rest
        states = (normal(M, D), normal(M, D), P, HP, kappa, rho, squares, least, decrease)
        step = with_numbers(kernels.conjugate_step)
        yield Case(tag, "conjugate_step", states, step, f64=True, tolerance=64.0)
    for name in ("l1", "box"):
        penalty, steps = PENALTIES[name], (normal(M, D), normal(M, D), normal(M, D))
        for rho, decrease in zip(NUMBERS, (None, np.array([0.5, 0.25])), strict=True):
            tag = f"{name}{'' if decrease is None else ', decrease'}"
            V, step, through = normal(M, D).clip(-0.5, 0.75), 0.1 * normal(M, D), normal(M, K)
            step, fallen = step.astype(dtype), np.zeros(M)
            # The slopes of half of the samples go with their steps; one sample has stopped.
            slope, fallen[1] = (normal(M, D) * (np.arange(M) % 2)[:, None]).astype(dtype), -1.0
            slope += 9 * step
            through = (0.1 * through).astype(dtype)
            moved = (V.astype(dtype), (V + 0.01).astype(dtype), step, through, normal(M, K), slope)
            accept = (*moved, penalty, kappa, rho, fallen, decrease)
            accepted = with_numbers(kernels.accept_step)
            yield Case(tag, "accept_step", accept, accepted, f64=True, tolerance=64.0)
            proposed = with_numbers(kernels.proximal_step)
            step = (*steps, penalty, rho)
            yield Case(tag, "proximal_step", step, proposed, f64=True, tolerance=16.0)


def of_the_gpu(dtype: Any, rng: np.random.Generator, M: int, D: int) -> Iterator[Case]:
    """Yield calls of kernels that only the GPU has."""

    normal = normals(rng, dtype)

    def add_column_sums(sums: Any, A: Any) -> None:
        sums += A.sum(0, dtype=np.float64)

    yield Case(
        "", "add_column_sums", (np.ones(D), normal(M, D)), add_column_sums, f64=True, tolerance=16.0
    )

    def residual_of_bias(R: Any, U: Any, bias: Any) -> None:
        R[:] = bias if U is None else U - bias

    yield Case("", "residual_of_bias", (normal(M, D), normal(M, D), normal(D)), residual_of_bias)
    yield Case("alone", "residual_of_bias", (normal(M, D), None, normal(D)), residual_of_bias)

    def displacement_of_states(old: Any, V: Any) -> float:
        old -= V
        return float((old.astype(float) ** 2).sum())

    yield Case(
        "", "displacement_of_states", (normal(M, D), normal(M, D)), displacement_of_states, f64=True
    )

    def scaled(out: Any, A: Any, f: Any) -> None:
        out[:] = f * A

    yield Case("number", "scaled", (normal(M, D), normal(M, D), dtype.type(0.3)), scaled)
    yield Case("array", "scaled", (normal(M, D), normal(M, D), normal(1)), scaled)

    G = rng.standard_normal((D + 1, D + 1))
    gram, noise = G @ G.T, 1e-6

    def scaled_system(
        out: Any, scale: Any, gram: Any, w: Any, ridge: float, alpha: float, noise: float, bad: Any
    ) -> None:
        H = w * gram + np.diag([ridge + alpha] * D + [alpha])
        scale[:] = 1 / np.sqrt(np.diag(H))
        out[:] = H * np.outer(scale, scale)
        np.fill_diagonal(out, 1.0 + noise)

    flag = np.zeros(1, np.int32)
    for name, w in (("number", 0.5), ("array", np.array([0.5]))):
        system = (np.empty((D + 1, D + 1)), np.empty(D + 1), gram, w, 0.3, 0.1, noise, flag)
        yield Case(name, "scaled_system", system, scaled_system, f64=True, tolerance=1e4)

        def right_hand_side(
            N: Any, cross: Any, W: Any, w: Any, ridge: float, scale: Any, bad: Any
        ) -> None:
            N[:] = w * cross
            N[:, :-1] -= ridge * W[:, :-1]
            N *= scale

        cross, scale = rng.standard_normal((K, D + 1)), rng.random(D + 1)
        rhs = (np.empty((K, D + 1)), cross, normal(K, D + 1), w, 0.3, scale, flag)
        yield Case(name, "right_hand_side", rhs, right_hand_side, f64=True)

        def add_scaled_step(
            W: Any,
            step: Any,
            cross: Any,
            w: Any,
            ridge: float,
            alpha: float,
            noise: float,
            scale: Any,
            decrease: Any,
        ) -> None:
            change, slope = step * scale, w * cross
            slope[:, :-1] -= ridge * W[:, :-1].astype(float)
            if decrease is not None:
                fallen = change * (slope + alpha * change) + noise * step**2
                decrease += 0.5 * fallen.sum(), (change**2).sum()
            W += change

        for decrease in (None, np.ones(2)):
            step = (normal(K, D + 1), cross + 0.5, cross, w, 0.3, 0.1, noise, scale, decrease)
            tag = f"{name}{'' if decrease is None else ', decrease'}"
            yield Case(tag, "add_scaled_step", step, add_scaled_step, f64=True, tolerance=64.0)

        def coordinate_hessian(H: Any, gram: Any, w: Any, alpha: float) -> None:
            H[:] = w * gram + alpha * np.eye(len(H))

        hessian = (np.empty_like(gram), gram, w, 0.1)
        yield Case(name, "coordinate_hessian", hessian, coordinate_hessian, f64=True)

        def shift_diagonal(A: Any, shift: Any) -> None:
            A += shift * np.eye(len(A))

        yield Case(name, "shift_diagonal", (gram.copy(), w), shift_diagonal, f64=True)

        def state_slopes(S: Any, C: Any, V: Any, scaled: Any, kappa: float, rho: Any) -> None:
            S[:] = kappa * (C.astype(float) - V) + rho * scaled

        slopes = (np.empty((M, D)), normal(M, D), normal(M, D), normal(M, D), 1.5, w)
        yield Case(name, "state_slopes", slopes, state_slopes, f64=True)

        def add_state_decrease(
            decrease: Any, moved: Any, through: Any, kappa: float, rho: Any
        ) -> None:
            decrease += np.concatenate([0.5 * (kappa * moved + rho * through), moved])

        state = (np.ones(2), np.array([2.0]), np.array([3.0]), 1.5, w)
        yield Case(name, "add_state_decrease", state, add_state_decrease, f64=True)

        def step_weights(W: Any, S: Any, leading: Any, size: Any, keep: float) -> None:
            size = W.dtype.type(size if np.ndim(size) == 0 else size[0])
            W[:, :-1] *= W.dtype.type(keep)
            W += size * (S if leading is None else S - leading)

        for leading in (None, normal(K, D + 1)):
            tag = f"{name}{'' if leading is None else ', leading'}"
            step = (normal(K, D + 1), normal(K, D + 1), leading, w, 0.9)
            # The size is one float64 on the GPU there.
            yield Case(tag, "step_weights_along", step, step_weights, f64=name == "array")

    yield from of_the_metric(rng, normal)

    if dtype == np.float32:

        def to_bfloat16(out: Any, A: Any) -> None:
            # Round to the nearer neighbour, and ties to the even one.
            down = A.view(np.uint32) >> 16
            below, above = ((k << 16).view(np.float32) for k in (down, down + 1))
            gaps = abs(A.astype(float) - below), abs(above.astype(float) - A)
            up = (gaps[1] < gaps[0]) | ((gaps[1] == gaps[0]) & (down % 2 == 1))
            out[:] = 0
            out[: len(A), : A.shape[1]] = down + up

        A = normal(M, D)
        A[0, :4] = 1.0 + 2.0**-8, 1.0 + 3 * 2.0**-8, 0.0, -(2.0**-133)  # ties, subnormal
        bits = np.full((M + 1, D + 5), 7, np.uint16)
        yield Case("", "to_bfloat16", (bits, A), to_bfloat16, tolerance=0.0)

    def set_numbers(out: Any, values: tuple[float, ...]) -> None:
        out[:] = values

    numbers = np.zeros(3), (0.3, -1.0, 1e-40)
    yield Case("", "set_numbers", numbers, set_numbers, f64=True)

    def fetch(
        V: Any, X: Any, T: Any, Y: Any, weight: Any, order: Any, weights: Any,
        numbers: Any, table: Any, cursor: Any,
    ) -> None:  # fmt: skip
        rows = order[cursor[0] : cursor[0] + len(V)]
        V[:, :-1], T[:] = X[rows], Y[rows]
        numbers[:] = table[cursor[1]]
        if weights is not None:
            weight[:] = weights[cursor[0] : cursor[0] + len(V)]

    order = rng.permutation(M)
    for tag, weights in (("", None), ("weights", rng.random(M))):
        inputs = (normal(3, D + 1), rng.integers(0, 255, (M, D)).astype(np.uint8))
        samples = (*inputs, normal(3, K), normal(M, K), rng.random(3), order, weights)
        table = (rng.random(5), rng.random((4, 5)), np.array([2, 1]))
        yield Case(tag, "fetch", (*samples, *table), fetch, f64=True)

    def advance(cursor: Any, rows: int) -> None:
        cursor += rows, 1

    yield Case("", "advance", (np.array([4, 2]), 3), advance)

    L = 3
    sizes = [np.array(a) for a in ([1.0, 2, 3, 1], [1.0, 2, 0.5, 3], [1.0, 0.1, 0.2, 0.3])]
    yield Case("", "layer_scales", (np.empty(L + 1), *sizes, 1e-3), kernels.layer_scales, f64=True)

    def settle_sizes(*arguments: Any) -> None:
        *of_batch, failures = arguments
        failures[0] |= kernels.settle_sizes(*of_batch) == NOT_FINITE

    # From the sums of a sweep in which layer 2 does not move, and of one with nothing to learn.
    counts, responses = np.array([1.0, 77, 55, 21]), np.array([0.0, 0.2, 0.3, 0.4])
    for tag, D_L in (("", 4.0), ("at rest", 1e-30)):
        squares = np.array([[0.0, 100, 200, 40], [0.0, 3, 0.0, D_L]])
        scale, written = np.array([1.0, 0.3, 0.4, 1.0]), (np.zeros(L + 1), np.zeros(L + 1))
        renewed = [a.copy() for a in sizes]
        numbers = (squares, counts, responses, 1e-3, 1e-6, 0.02, flag)
        arguments = (*written, *renewed, scale, *numbers)
        yield Case(tag, "settle_sizes", arguments, settle_sizes, f64=True)


def jacobi(A: Any, Z: Any, work: Any) -> None:
    """Cyclic Jacobi, pairs as in a tournament: A becomes diagonal, Z orthogonal."""
    r = len(A)
    last = 2 * ((r + 1) // 2) - 1
    Z[:] = np.eye(r)
    while ((A - np.diag(np.diag(A))) ** 2).sum() > 1e-24 * (A**2).sum():
        for turn in range(last):
            games = [(last, turn)]
            games += [
                ((turn + k) % last, (turn + last - k) % last) for k in range(1, last // 2 + 1)
            ]
            for p, q in map(sorted, games):
                if q < r and A[p, q] != 0.0:
                    angle = 0.5 * np.arctan(2.0 * A[p, q] / (A[q, q] - A[p, p]))
                    turned = np.array(
                        [[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]]
                    )
                    A[:, [p, q]] = A[:, [p, q]] @ turned
                    A[[p, q]] = turned.T @ A[[p, q]]
                    Z[:, [p, q]] = Z[:, [p, q]] @ turned


def of_the_metric(rng: np.random.Generator, normal: Callable[..., Any]) -> Iterator[Case]:
    """Renewal of the mini-batch metric."""
    for r in (1, 4, 5):
        sketch = rng.standard_normal((9, r))
        square = (sketch.T @ sketch, np.zeros((r, r)), Work((2, r), (2, r)))
        yield Case(f"{r}", "eigenvectors_in_a_block", square, jacobi, f64=True, tolerance=1e4)

    def ritz_values(
        c: Any, scale: Any, kept: Any, shrinkage: Any, level: Any, A: Any, Z: Any,
        trace_sum: Any, batches: Any, d: int, damping: float, ceiling: float, power: float,
        remembered: int, failures: Any,
    ) -> None:  # fmt: skip
        r, n = len(A), batches[0]
        e, trace = np.sqrt(np.diag(A)), trace_sum[0] / n
        counts = e > 1e-6 * e.max()
        scale[:] = np.where(counts, 1.0 / np.where(counts, e, 1.0), 0.0)
        e = np.where(counts, e, 0.0) / n
        rest = max(trace - e.sum(), 0.0) / max(d - r, 1)
        new = rest + damping * trace / d
        if r < d:
            new = max(new, e.min() / ceiling)
        c[:] = 1.0 - (new / (new + np.maximum(e - rest, 0.0))) ** power
        batches[0] = min(n, remembered)
        kept[:], trace_sum[0] = batches[0] * e, batches[0] * trace
        shrinkage[0] = new / level[0] if new < 0.1 * level[0] else 1.0
        level[0] = new
        Z *= scale

    for tag, e, trace, level, power, remembered in (
        ("", [9.0, 4.0, 1e-7], 30.0, 1.0, 1.0, 0),
        ("out of scale", [9.0, 4.0, 2.0], 30.0, 1e6, 1.0, 1),
        ("ceiling", [9.0, 8.0, 7.5], 8.0, 1.0, 1.0, 0),
        ("full rank", [9.0, 4.0, 2.0], 30.0, 1.0, 0.5, 8),
    ):
        d = 3 if tag == "full rank" else 7
        outputs = (np.zeros(3), np.zeros(3), np.zeros(3), np.zeros(1), np.array([level]))
        inputs = (np.diag(np.square(e)), rng.standard_normal((3, 3)))
        sums = (np.array([trace]), np.array([2.0]), d, 5.0, 3.5, power, remembered)
        arguments = (*outputs, *inputs, *sums, np.zeros(1, np.int32))
        yield Case(tag, "ritz_values", arguments, ritz_values, f64=True, tolerance=64.0)

    def turn_directions(
        Q: Any, D: Any, sketch: Any, new: Any, start: Any, scale: Any, c: Any, kept: Any
    ) -> None:
        stays = scale < 0.0
        Q[:] = np.where(stays, Q, np.where(scale > 0.0, new, start))
        D[:] = np.where(stays[:, None], D, Q.T * c[:, None])
        sketch[:] = Q * kept

    Q = (normal(7, 3), normal(3, 7), normal(7, 3), rng.standard_normal((7, 3)), normal(7, 3))
    numbers = (np.array([0.5, 0.0, -1.0]), rng.random(3), np.array([2.0, 0.0, 0.0]))
    yield Case("", "turn_directions", (*Q, *numbers), turn_directions, f64=True, tolerance=8.0)
