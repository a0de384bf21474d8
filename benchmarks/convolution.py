"""A batch of a convolutional network beside its products as BLAS calls, and beside PyTorch.

    python benchmarks/convolution.py [--network mnist cifar] [--batch 100] [--repeats 5]

The networks are those of `images.py`, on images of normal numbers, in float32 on one thread. For
each network it prints the processor seconds of one batch, the least of the repeats, which take
turns: a whole batch of `MiniBatchThreeSplitting`; its products as BLAS calls on matrices that are
ready in memory, patches included; forward and backward pass in PyTorch (channels last), if that is
installed. For each convolution it prints billions of operations a second of our kernels, of those
BLAS calls and of PyTorch. Where the processor multiplies bfloat16 numbers, ours and PyTorch's
(`torch.autocast`) are there in that precision, too.
"""

from __future__ import annotations

import argparse
import importlib.util
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from images import NETWORKS

from fastbcd import MiniBatchThreeSplitting, Problem, kernels
from fastbcd.devices.rounded_products import RoundedProducts
from fastbcd.kernels import bf16
from fastbcd.layers import Conv2d, Dense, Layer, build_layers
from fastbcd.layers.convolution import ConvolutionOperator

Call = Callable[[], Any]
HAS_TORCH = importlib.util.find_spec("torch") is not None


def seconds(calls: dict[str, Call], repeats: int) -> dict[str, float]:
    """Return the least processor seconds of each call; the calls take turns."""
    least = dict.fromkeys(calls, float("inf"))
    for repeat in range(repeats + 1):
        for name, call in calls.items():
            start = time.process_time()
            call()
            if repeat:  # the first one compiles
                least[name] = min(least[name], time.process_time() - start)
    return least


def numbers(*shape: int) -> np.ndarray:
    """Return normal numbers."""
    return np.random.default_rng(0).standard_normal(shape, np.float32)


def products(layer: Layer, m: int, first: bool) -> dict[str, Call]:
    """Return the products of a layer as BLAS calls on ready matrices: forward, back, gradient."""
    positions = layer.shapes.n_positions if isinstance(layer, Conv2d) else 1
    d, k = layer.weight_shape
    P, W = numbers(m * positions, k), numbers(d, k)
    R, U, N = numbers(m * positions, d), np.empty((m * positions, d), np.float32), W.copy()
    calls: dict[str, Call] = {
        "forward": lambda: kernels.product_transposed(U, P, W, 1.0, 0.0),
        "gradient": lambda: kernels.transposed_product(N, R, P, 1.0, 0.0),
    }
    if first:  # the inputs are no variable
        return calls
    if isinstance(layer, Conv2d):
        # The patches of R, as many as the image has pixels, times the kernel.
        height, width, C = layer.image
        pixels, elements = m * height * width, (k - 1) // C * d
        shapes = (pixels, elements), (elements, C)
    else:
        shapes = (m, d), (d, k)
    slopes, back = (numbers(*shape) for shape in shapes)
    D = np.empty((len(slopes), back.shape[1]), np.float32)
    return calls | {"back": lambda: kernels.product(D, slopes, back, 1.0, 0.0)}


def own(layer: Conv2d, m: int, first: bool, library: Any = kernels) -> dict[str, Call]:
    """Return our kernels of a convolution."""
    W, V = numbers(*layer.weight_shape), numbers(m, layer.d_in + 1)
    R, D, N = numbers(m, layer.d_out), numbers(m, layer.d_in), W.copy()
    U = np.empty((m, layer.d_out), np.float32)
    operator = ConvolutionOperator(library, layer.shapes, W)
    calls: dict[str, Call] = {
        "forward": lambda: operator.apply(U, V[:, :-1]),
        "gradient": lambda: layer.batch_gradient(library, N, R, V, 1.0, 0.0),
    }
    return calls if first else calls | {"back": lambda: operator.adjoint(D, R)}


def own_rounded(layer: Conv2d, m: int, first: bool) -> dict[str, Call]:
    """Return our kernels of a convolution with rounded factors."""
    return own(layer, m, first, RoundedProducts())


def torch_rounded(layer: Conv2d, m: int, first: bool) -> dict[str, Call]:
    """Return PyTorch's convolution of bfloat16 numbers."""
    import torch

    return torch_layer(layer, m, first, torch.bfloat16)


def torch_layer(layer: Conv2d, m: int, first: bool, dtype: Any = None) -> dict[str, Call]:
    """Return PyTorch's convolution, forward and backward."""
    import torch

    last = {"memory_format": torch.channels_last, "dtype": dtype or torch.float32}
    height, width, C = layer.image
    V = torch.randn(m, C, height, width).to(**last).requires_grad_(not first)
    W = torch.randn(layer.channels, C, *layer.kernel).to(**last).requires_grad_()
    U = torch.conv2d(V, W, stride=layer.stride, padding=layer.padding)
    R = torch.randn_like(U)
    inputs = [W] if first else [W, V]
    return {
        "forward": lambda: torch.conv2d(
            V.detach(), W.detach(), stride=layer.stride, padding=layer.padding
        ),
        "gradient and back": lambda: torch.autograd.grad(U, inputs, R, retain_graph=True),
    }


def rates(layer: Conv2d, m: int, first: bool, repeats: int) -> list[str]:
    """Return a line of a table for each implementation: billions of operations a second."""
    lines = []
    kinds: dict[str, Any] = {"fastbcd": own, "BLAS on ready patches": products}
    if HAS_TORCH:
        kinds["PyTorch"] = torch_layer
    if bf16.AVAILABLE:
        kinds["fastbcd, bf16"] = own_rounded
        kinds |= {"PyTorch, bf16": torch_rounded} if HAS_TORCH else {}
    for name, make in kinds.items():
        least = seconds(make(layer, m, first), repeats)
        operations = 2e-9 * m * layer.multiplications
        cells = [f"{operations / least['forward']:.0f}"]
        both = sum(least.values()) - least["forward"]
        cells.append(f"{operations * (1 if first else 2) / both:.0f}")
        lines.append(f"| {layer.image} to {layer.channels} | {name} | {' | '.join(cells)} |")
    return lines


def torch_network(layers: list[Layer], m: int, rounds: bool) -> Call:
    """Return forward and backward pass of the same network in PyTorch, `rounds` in bfloat16."""
    import torch
    from torch import nn

    parts: list[nn.Module] = []
    for l, layer in enumerate(layers):
        if isinstance(layer, Conv2d):
            C = layer.image[2]
            parts += [nn.Conv2d(C, layer.channels, layer.kernel, layer.stride, layer.padding)]
        elif isinstance(layer, Dense):
            flat = any(isinstance(part, nn.Flatten) for part in parts)
            parts += [] if flat else [nn.Flatten()]
            parts.append(nn.Linear(layer.d_in, layer.d_out))
        else:
            parts.append(nn.MaxPool2d(2))
        if layer.has_weights and l < len(layers) - 1:
            parts.append(nn.ReLU())
    module = nn.Sequential(*parts).to(memory_format=torch.channels_last)
    height, width, C = layers[0].image  # type: ignore[attr-defined]
    V = torch.randn(m, C, height, width).to(memory_format=torch.channels_last)
    y = torch.randint(10, (m,))

    def one_batch() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=rounds):
            loss = nn.functional.cross_entropy(module(V), y)
        torch.autograd.grad(loss, list(module.parameters()))

    return one_batch


def batches(layers: list[Layer], m: int) -> dict[str, Call]:
    """Return one batch of ours, its products, and PyTorch's."""
    Y = np.eye(10, dtype=np.float32)[np.random.default_rng(0).integers(10, size=20 * m)]
    X = numbers(20 * m, layers[0].d_in)

    def ours(precision: str) -> Call:
        problem = Problem(layers=layers, loss="cross_entropy")
        solver = MiniBatchThreeSplitting(problem, m, n_threads=1, precision=precision)
        state = solver.init(X, Y, passes=100)
        # Twenty batches are a pass: the metric counts every fifth one.
        return lambda: solver.step(state)

    ready = [call for l, layer in enumerate(layers) if layer.has_weights
             for call in products(layer, m, l == 0).values()]  # fmt: skip
    calls: dict[str, Call] = {
        "fastbcd": ours("float32"),
        "products": lambda: [call() for _ in range(20) for call in ready],
    }
    precisions = {"": False} | ({", bf16": True} if bf16.AVAILABLE else {})
    if bf16.AVAILABLE:
        calls["fastbcd, bf16"] = ours("bf16")
    for suffix, rounds in precisions.items() if HAS_TORCH else ():
        calls["PyTorch" + suffix] = repeated(torch_network(layers, m, rounds))
    return calls


def repeated(call: Call) -> Call:
    """Return twenty calls."""
    return lambda: [call() for _ in range(20)]


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--network", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--batch", type=int, default=100)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    if HAS_TORCH:
        import torch

        torch.set_num_threads(1)
    for name in options.network:
        text, image, _, _ = NETWORKS[name]
        layers = build_layers(text, image, 10)
        least = seconds(batches(layers, options.batch), options.repeats)
        print(f"\n{name}: {text}, seconds of a batch of {options.batch} (twenty at a time)\n")
        for what, value in least.items():
            ratio = value / least["products"]
            print(f"{what:13} {value / 20:.4f}   {ratio:.2f} times the products")
        print("\n| convolution | | forward | gradient and back |\n|---|---|---|---|", flush=True)
        for l, layer in enumerate(layers):
            if isinstance(layer, Conv2d):
                lines = rates(layer, options.batch, l == 0, options.repeats)
                print("\n".join(lines), flush=True)


if __name__ == "__main__":
    main()
