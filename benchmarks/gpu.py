"""What the GPU does: a table in under five minutes, full numbers in a file.

    python benchmarks/gpu.py [--mnist FOLDER] [--out gpu.json] [--quick]

Kernels: the share of this card's copy bandwidth. An iteration of 784-1500x3-10 on 60,000 samples:
its time over the sum of its own cuBLAS and cuSOLVER calls, replayed in the same run, and over the
published procedure in PyTorch on the same card. The objective over 50 iterations. Mini-batches:
time to 98 % on MNIST, against PyTorch's Adam with the rate and batch that the CPU's race found; a
pass with CUDA graphs and without; several networks at once, each in a thread and on a stream.
What a package or data are missing for is left out, and the table says so.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from fastbcd import InputError, Problem, ThreeSplitting, kernels, one_hot
from fastbcd.devices.cuda.library import describe
from fastbcd.mini_batch import MiniBatchThreeSplitting

WIDTHS, N = (784, 1500, 1500, 1500, 10), 60_000
ACTIVATIONS = ("relu", "leaky_relu", "linear", "sigmoid", "tanh", "softplus")
MARK = 0.98
# As benchmarks/peers/race.py tuned it on the CPU.
ADAM = {"rate": 3e-3, "batch": 128, "hidden": (500, 500), "passes": 10}


class Timer:
    """Seconds of work on the stream that is current, by the card's own events."""

    def __init__(self, cupy: Any) -> None:
        self.cupy = cupy

    def __call__(self, function: Callable[[], Any], repeat: int = 7, warm: int = 2) -> float:
        """Median of `repeat` runs, after `warm` ones that compile and fill caches."""
        times = []
        for k in range(warm + repeat):
            start, end = self.cupy.cuda.Event(), self.cupy.cuda.Event()
            start.record()
            function()
            end.record()
            end.synchronize()
            if k >= warm:
                times.append(self.cupy.cuda.get_elapsed_time(start, end) / 1e3)
        return statistics.median(times)


def copy_rate(cupy: Any, timer: Timer) -> float:
    """Bytes read and written in a second by a copy of a GiB."""
    source = cupy.zeros(2**28, np.float32)
    target = cupy.empty_like(source)
    return 2 * source.nbytes / timer(lambda: cupy.copyto(target, source))


def of_kernels(device: Any, cupy: Any, timer: Timer, rate: float, rows: int) -> dict[str, float]:
    """Kernel -> its bytes over its time, as a share of the copy's rate; (rows, 1500)."""
    gpu, shares, d = device.kernels, {}, 1500
    A, B, C, D = (cupy.random.standard_normal((rows, d), np.float32) for _ in range(4))
    W = cupy.random.standard_normal((1500, 1501), np.float32)
    S, leading = W.copy(), W.copy()
    for name in ACTIVATIONS:
        act = kernels.ACTIVATIONS[name]()
        calls: dict[str, tuple[int, Callable[[], Any]]] = {
            "activate": (2, lambda act=act: gpu.activate(A, act, B, None)),
            "update_preactivation": (
                5,
                lambda act=act: gpu.update_preactivation(A, act, B, None, C, 1.0, 1.0, 0.1, None),
            ),
            "state_center": (
                2,
                lambda act=act: gpu.state_center(A, act, B, None, act, C, None, 1.0),
            ),
            "activation_residual": (2, lambda act=act: gpu.activation_residual(act, A, B, None)),
            "majorised_residual": (3, lambda act=act: gpu.majorised_residual(A, act, B, C, 1.0)),
            "displacement": (3, lambda act=act: gpu.displacement(D, None, B, act, 1.0, 16.0)),
        }
        for kernel, (arrays, call) in calls.items():
            A[...], C[...], D[...] = B * 1.1, B * 0.9, B * 1e-3
            shares[f"{kernel} {name}"] = arrays * A.nbytes / timer(call) / rate
    others: dict[str, tuple[int, Callable[[], Any]]] = {
        "squared_norm": (A.nbytes, lambda: gpu.squared_norm(A)),
        "squared_distance": (2 * A.nbytes, lambda: gpu.squared_distance(A, B)),
        "residual_of_bias": (2 * A.nbytes, lambda: gpu.residual_of_bias(A, B, W[0, :d])),
        "proximal_center": (3 * A.nbytes, lambda: gpu.proximal_center(A, B, C, 1.0, 0.1)),
        "column sums": (A.nbytes, lambda: gpu.add_column_sums(cupy.zeros(d), A)),
        "step_weights": (4 * W.nbytes, lambda: gpu.step_weights_along(W, S, leading, 1e-9, 1.0)),
    }
    for kernel, (n_bytes, call) in others.items():
        shares[kernel] = n_bytes / timer(call) / rate
    return shares


class Replay:
    """The library's calls of one step, kept, to be made again on their own."""

    NAMES = ("gemm", "gram", "cholesky", "cholesky_solve", "cholesky_solve_columns")

    def __init__(self, library: Any) -> None:
        self.calls: list[Callable[[], Any]] = []
        self._library = library

    def __enter__(self) -> Replay:
        for name in self.NAMES:
            setattr(self._library, name, self._kept(getattr(self._library, name)))
        return self

    def _kept(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            if function.__name__ == "cholesky":  # in place: a factor is no matrix to factor again
                (A,) = arguments
                before = A.copy()
                self.calls.append(lambda: (A.__setitem__(Ellipsis, before), function(A)))
            else:
                self.calls.append(lambda: function(*arguments, **options))
            return function(*arguments, **options)

        return call

    def __exit__(self, *exception: object) -> None:
        for name in self.NAMES:
            delattr(self._library, name)

    def __call__(self) -> None:
        for call in self.calls:
            call()


def of_iterations(
    timer: Timer, X: Any, Y: Any, widths: tuple[int, ...], **options: Any
) -> dict[str, float]:
    """Seconds of an iteration, and of its own products and factorisations alone."""
    problem = Problem(widths, reduction="sum", gamma=1.0)
    solver = ThreeSplitting(problem, alpha=5.0, device="cuda", **options)
    state = solver.init(X, Y, seed=40, init="normal:0.01", bias=0.1)
    with solver.device.session():
        step = timer(lambda: solver.step(state), repeat=5)
        with Replay(solver.device.library) as replay:
            solver.step(state)
        products = timer(replay, repeat=5)
    return {"seconds": step, "products": products, "ratio": step / products}


def of_the_published_procedure(X: Any, Y: Any, widths: tuple[int, ...]) -> float:
    """Seconds of an iteration in PyTorch on the card, without its monitoring; TF32 off."""
    import torch

    sys.path[:0] = [str(Path(__file__).parent / "peers")]
    from published import Blocks, PublishedBCD

    torch.backends.cuda.matmul.allow_tf32 = False
    procedure = PublishedBCD(widths)
    start = procedure.start(torch.from_numpy(np.ascontiguousarray(X.T)))
    torch.set_default_device("cuda")
    try:
        moved = [[None if a is None else a.cuda() for a in part] for part in vars(start).values()]
        blocks, targets = Blocks(*moved), torch.from_numpy(np.ascontiguousarray(Y.T)).cuda()
        times = []
        for _ in range(6):
            torch.cuda.synchronize()
            begin = time.perf_counter()
            procedure.iterate(blocks, targets)
            torch.cuda.synchronize()
            times.append(time.perf_counter() - begin)
        return statistics.median(times[1:])
    finally:
        torch.set_default_device("cpu")


def of_descent(X: Any, Y: Any, widths: tuple[int, ...]) -> dict[str, Any]:
    """Objectives of 50 full-batch iterations, and the largest relative rise."""
    solver = ThreeSplitting(Problem(widths, reduction="sum", gamma=1.0), alpha=5.0, device="cuda")
    state = solver.init(X, Y, seed=40, init="normal:0.01", bias=0.1)
    objectives = [solver.objective(state)]
    for _ in range(50):
        solver.step(state)
        objectives.append(solver.objective(state))
    rises = [b / a - 1.0 for a, b in itertools.pairwise(objectives)]
    return {"objectives": objectives, "largest_rise": max(rises)}


def of_mini_batches(data: Any) -> dict[str, Any]:
    """Seconds of training until `MARK` of the test samples are right, and the accuracies."""
    widths = (784, *ADAM["hidden"], 10)
    solver = MiniBatchThreeSplitting(Problem(widths, loss="cross_entropy"), device="cuda")
    state = solver.init(data["X"], one_hot(data["y"]), passes=ADAM["passes"])
    from fastbcd.fit import network_of

    seconds, reached, accuracies = 0.0, None, []
    for k in range(ADAM["passes"]):
        begin = time.perf_counter()
        solver.step(state)  # its end waits for the card
        seconds += time.perf_counter() - begin
        outputs = network_of(solver, state).forward(data["X_test"])
        accuracies.append(float((outputs.argmax(1) == data["y_test"]).mean()))
        if reached is None and accuracies[-1] >= MARK:
            reached = seconds
        if k == 0:
            first = seconds  # kernels are compiled in the first pass
    return {
        "seconds": seconds,
        "seconds_of_first_pass": first,
        "seconds_to_mark": reached,
        "accuracies": accuracies,
    }


def of_passes(X: Any, Y: Any, networks: int, graphs: bool, passes: int = 3) -> float:
    """Seconds of a pass of so many networks at once, which differ by their seed; the median."""
    import cupy

    widths = (X.shape[1], *ADAM["hidden"], Y.shape[1])
    X, Y = (cupy.asarray(array, np.float32) for array in (X, Y))  # one copy for all
    solvers, states = [], []
    for seed in range(networks):
        solver = MiniBatchThreeSplitting(Problem(widths, loss="cross_entropy"), device="cuda")
        solver.device.graphs = graphs
        solvers.append(solver)
        states.append(solver.init(X, Y, seed=seed, passes=passes + 1))
    times = []
    with ThreadPoolExecutor(networks) as threads:
        for _ in range(passes + 1):
            begin = time.perf_counter()
            for pass_ in [
                threads.submit(s.step, of) for s, of in zip(solvers, states, strict=True)
            ]:
                pass_.result()  # its end waits for the card
            times.append(time.perf_counter() - begin)
    return statistics.median(times[1:])  # the first one compiles and captures


def of_several(X: Any, Y: Any) -> dict[str, float]:
    """Seconds of a pass without graphs; with them, of 1, 2, 4 and 8 networks at once."""
    return {
        "without graphs": of_passes(X, Y, 1, False),
        **{str(k): of_passes(X, Y, k, True) for k in (1, 2, 4, 8)},
    }


def of_adam(data: Any) -> dict[str, Any]:
    """The same for PyTorch's fused Adam with a cosine schedule, everything on the card."""
    import torch
    from torch import nn

    torch.manual_seed(0)
    X, y = torch.from_numpy(data["X"]).cuda(), torch.from_numpy(data["y"].astype(np.int64)).cuda()
    X_test = torch.from_numpy(data["X_test"]).cuda()
    y_test = torch.from_numpy(data["y_test"].astype(np.int64)).cuda()
    sizes, layers = (784, *ADAM["hidden"], 10), []
    for d_in, d_out in itertools.pairwise(sizes):
        layers += [nn.Linear(d_in, d_out), nn.ReLU()]
        nn.init.kaiming_normal_(layers[-2].weight, nonlinearity="relu")
        nn.init.zeros_(layers[-2].bias)
    network = nn.Sequential(*layers[:-1]).cuda()
    updates = torch.optim.Adam(network.parameters(), lr=ADAM["rate"], fused=True)
    steps = ADAM["passes"] * -(-len(X) // ADAM["batch"])
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(updates, steps)
    seconds, reached, accuracies, first = 0.0, None, [], 0.0
    for k in range(ADAM["passes"]):
        torch.cuda.synchronize()
        begin = time.perf_counter()
        for rows in torch.randperm(len(X), device="cuda").split(ADAM["batch"]):
            updates.zero_grad()
            nn.functional.cross_entropy(network(X[rows]), y[rows]).backward()
            updates.step()
            schedule.step()
        torch.cuda.synchronize()
        seconds += time.perf_counter() - begin
        first = seconds if k == 0 else first
        with torch.no_grad():
            right = (network(X_test).argmax(1) == y_test).float().mean()
        accuracies.append(float(right))
        if reached is None and accuracies[-1] >= MARK:
            reached = seconds
    return {
        "seconds": seconds,
        "seconds_of_first_pass": first,
        "seconds_to_mark": reached,
        "accuracies": accuracies,
    }


def mnist(folder: str | None) -> dict[str, Any] | None:
    """Images of MNIST in units of 255, as float32, and labels; None without a folder."""
    if folder is None:
        return None
    from fastbcd.data import load

    data = load(folder)
    scaled = {
        "X": np.ascontiguousarray(data.X_train, np.float32) / 255.0,
        "X_test": np.ascontiguousarray(data.X_test, np.float32) / 255.0,
    }
    return {**scaled, "y": np.asarray(data.y_train), "y_test": np.asarray(data.y_test)}


def attempt(results: dict[str, Any], name: str, function: Callable[[], Any]) -> Any:
    """Result of `function` under `name`; a missing package or other failure is written there."""
    begin = time.perf_counter()
    try:
        results[name] = function()
    except Exception as problem:
        results[name] = {"failed": f"{type(problem).__name__}: {problem}"}
        print(f"{name}: {results[name]['failed']}", file=sys.stderr)
    results["seconds_of"][name] = time.perf_counter() - begin
    return results[name]


def main() -> int:
    """Measure, write, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mnist", metavar="FOLDER", help="MNIST's IDX files")
    parser.add_argument("--out", default="gpu.json", metavar="FILE.json")
    parser.add_argument("--quick", action="store_true", help="small sizes: does it run at all?")
    options = parser.parse_args()
    widths, n = ((784, 64, 64, 10), 2000) if options.quick else (WIDTHS, N)
    try:
        solver = ThreeSplitting(Problem((784, 8, 10)), device="cuda")
    except InputError as problem:
        print(problem, file=sys.stderr)
        return 2
    import cupy

    timer, device = Timer(cupy), solver.device
    results: dict[str, Any] = {"device": describe(), "seconds_of": {}}
    data = mnist(options.mnist)
    rng = np.random.default_rng(0)
    if data is None:
        X, labels = rng.random((n, 784), np.float32), rng.integers(0, 10, n)
    else:
        X, labels = data["X"][:n], data["y"][:n]
    Y = one_hot(labels).astype(np.float32)

    def kernel_shares() -> dict[str, float]:
        with device.session():
            rate = copy_rate(cupy, timer)
            results["copy_gigabytes_per_second"] = rate / 1e9
            return of_kernels(device, cupy, timer, rate, n)

    shares = attempt(results, "kernels", kernel_shares)
    cupy.get_default_memory_pool().free_all_blocks()
    own = attempt(results, "iteration", lambda: of_iterations(timer, X, Y, widths))
    tf32 = attempt(
        results, "iteration tf32", lambda: of_iterations(timer, X, Y, widths, precision="tf32")
    )
    descent = attempt(results, "descent", lambda: of_descent(X, Y, widths))
    cupy.get_default_memory_pool().free_all_blocks()
    published = attempt(results, "published", lambda: of_the_published_procedure(X, Y, widths))
    cupy.get_default_memory_pool().free_all_blocks()
    several = attempt(results, "mini-batch passes", lambda: of_several(X, Y))
    rows = [("device", results["device"].get("cuda device", "?"))]
    if "failed" not in shares:
        worst = min(shares, key=lambda name: shares[name])
        rows += [
            ("copy, GB/s", f"{results['copy_gigabytes_per_second']:.0f}"),
            ("kernels' share of it, worst", f"{shares[worst]:.2f} ({worst})"),
            ("kernels' share of it, median", f"{statistics.median(shares.values()):.2f}"),
        ]
    for name, of in (("float32", own), ("tf32", tf32)):
        if "failed" not in of:
            rows.append((f"iteration, {name}, s", f"{of['seconds']:.4f}"))
            rows.append((f"over its products, {name}", f"{of['ratio']:.2f}"))
    if isinstance(published, float):
        rows.append(("published procedure, s", f"{published:.4f}"))
        if "failed" not in own:
            rows.append(("iteration over published", f"{own['seconds'] / published:.2f}"))
    if "failed" not in descent:
        rows.append(("largest rise in 50 iterations", f"{descent['largest_rise']:.1e}"))
    if "failed" not in several:
        one = several["1"]
        rows.append(("pass of mini-batches, s", f"{one:.4f}"))
        rows.append(("without graphs, over it", f"{several['without graphs'] / one:.2f}"))
        best = max("1248", key=lambda k: int(k) / several[k])
        gain = int(best) * one / several[best]
        rows.append(("most networks a second", f"{gain:.2f} times one alone, {best} at once"))
    if data is not None:
        for name, function in (("mini-batches", of_mini_batches), ("Adam", of_adam)):
            of = attempt(results, name, lambda function=function: function(data))
            if "failed" not in of:
                to_mark, last = of["seconds_to_mark"], of["accuracies"][-1]
                reached = "not reached" if to_mark is None else f"{to_mark:.2f} s"
                rows.append((f"{name}, to {MARK:.0%}", f"{reached}, last {last:.4f}"))
    else:
        rows.append(("mini-batches, Adam", "left out: no --mnist FOLDER"))
    Path(options.out).write_text(json.dumps(results, indent=1))
    width = max(len(name) for name, _ in rows)
    for name, text in rows:
        print(f"{name:<{width}}  {text}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
