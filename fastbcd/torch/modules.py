"""Modules of PyTorch as layers and activations; the other direction is `fastbcd.export`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from fastbcd.errors import InputError
from fastbcd.export.pieces import ACTIVATIONS, skip_arguments
from fastbcd.export.support import library
from fastbcd.kernels import ACTIVATIONS as FORMULAS
from fastbcd.kernels import Formula
from fastbcd.layers import AveragePool2d, Conv2d, Dense, GroupedConv2d, Layer, MaxPool2d
from fastbcd.support.parameters import plain
from fastbcd.torch.chain import Chain
from fastbcd.torch.parameters import check_parameters

# Modules whose work the loss does.
LAST = (
    *("Softmax", "LogSoftmax", "LogSigmoid"),
    *("Simplex", "OneAgainstRest", "EachLabel", "Exponential"),
)


def read(module: Any, shape: tuple[int, ...]) -> Chain:
    """Return the layers of a ``torch.nn.Sequential`` for samples of this shape.

    Raises
    ------
    InputError
        A module has no counterpart here, does not fit the samples, or cannot be trained. The
        message names it.
    """
    chain, modules = Chain(shape), list(children(module))
    for name, child in modules:
        if chain.steps and child is modules[-1][1] and _kind(child) in LAST:
            raise InputError(
                f"{name} comes after the last layer, but the loss takes the outputs of that layer; "
                "train module[:-1], which has the same parameters"
            )
        _read(chain, name, child)
    if not any(step.layer.has_weights for step in chain.steps):
        raise InputError("module has no layer with weights, such as nn.Linear")
    last = chain.steps[-1]
    if last.activation.name != "linear":
        raise InputError(
            f"{last.name} is the last layer and has the activation {last.activation.name}, but the "
            "loss takes its outputs without one; train module[:-1], which has the same parameters"
        )
    if chain.holds_images or chain.order is not None:
        raise InputError(
            f"module makes images {chain.shape} or their pixels; end it with nn.Linear, or with "
            "nn.AdaptiveAvgPool2d(1) and nn.Flatten()"
        )
    check_parameters(chain)
    return chain


def children(module: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield names and modules of a ``Sequential``; one inside it is replaced by its modules."""
    for key, child in module._modules.items():
        if is_sequential(child):
            yield from children(child, f"{prefix}{key}.")
        else:
            yield f"module {prefix}{key} ({type(child).__name__})", child


def is_sequential(module: Any) -> bool:
    """Return whether `module` is a ``Sequential`` that calls its modules in turn."""
    kind = library("torch").nn.Sequential
    return isinstance(module, kind) and type(module).forward is kind.forward


def _read(chain: Chain, name: str, child: Any) -> None:
    """Add one module to the chain; an error begins with its name."""
    kind = _kind(child)
    try:
        if kind in OWN and _is_ours(child):
            OWN[kind](chain, name, child)
        elif kind in MODULES and type(child) is getattr(library("torch").nn, kind):
            MODULES[kind](chain, name, child)
        else:
            raise InputError(
                f"has no counterpart here; modules that have one: {', '.join(MODULES)}, and "
                f"{', '.join(OWN)} of an exported network"
            )
    except InputError as error:
        text = str(error)
        if text.startswith("module "):  # of a module within this one
            raise
        layer, colon, rest = text.partition(": ")  # of a layer's constructor
        text = f": {rest}" if colon and " " not in layer else f" {text}"
        raise InputError(name + text) from None


def _is_ours(child: Any) -> bool:
    """Return whether `child` computes what the layer of its name in an exported file does."""
    from fastbcd.export import torch_layers

    kinds = type(child), getattr(torch_layers, _kind(child))
    codes = (kind.forward.__code__ for kind in kinds)
    own, expected = ((code.co_code, code.co_names, code.co_consts) for code in codes)
    return own == expected


def _kind(child: Any) -> str:
    return type(child).__name__


# -- layers -------------------------------------------------------------------------------------


def _linear(chain: Chain, name: str, child: Any) -> None:
    if len(chain.shape) != 1:
        raise InputError(f"takes rows, but gets samples {chain.shape}; put nn.Flatten() before it")
    if chain.shape[0] != child.in_features:
        raise InputError(f"takes {child.in_features} numbers, but gets {chain.shape[0]}")
    chain.add(name, child, Dense(child.in_features, child.out_features))


def _image(chain: Chain) -> tuple[int, int, int]:
    """Return the size (H, W, C) of the samples; `InputError` if they are no images."""
    if not chain.holds_images or chain.order is None:
        raise InputError(f"takes images (C, H, W), but gets samples {chain.shape}")
    return chain.order


def _conv2d(chain: Chain, name: str, child: Any) -> None:
    image = _image(chain)
    if image[2] != child.in_channels:
        raise InputError(f"takes {child.in_channels} channels, but gets (C, H, W) = {chain.shape}")
    _require(child, dilation=1, padding_mode="zeros")
    padding = child.padding
    if padding == "valid":
        padding = 0
    elif padding == "same":
        if not all(k % 2 for k in child.kernel_size):
            raise InputError(f"has padding='same' for a kernel of {child.kernel_size}: even sides")
        padding = tuple(k // 2 for k in child.kernel_size)
    sizes = (image, child.out_channels, child.kernel_size, child.stride, padding)
    layer = Conv2d(*sizes) if child.groups == 1 else GroupedConv2d(*sizes, child.groups)
    chain.add(name, child, layer)


def _max_pool2d(chain: Chain, name: str, child: Any) -> None:
    _require(child, padding=0, dilation=1, ceil_mode=False, return_indices=False)
    chain.add(name, child, MaxPool2d(_image(chain), _window(child)))


def _average_pool2d(chain: Chain, name: str, child: Any) -> None:
    _require(child, padding=0, ceil_mode=False, divisor_override=None)
    chain.add(name, child, AveragePool2d(_image(chain), _window(child)))


def _global_average(chain: Chain, name: str, child: Any) -> None:
    _require(child, output_size=1)
    chain.add(name, child, AveragePool2d(_image(chain), "global"))


def _window(child: Any) -> Any:
    if _pair(child.stride) != _pair(child.kernel_size):
        raise InputError(f"has windows of {child.kernel_size} and stride={child.stride}, not equal")
    return child.kernel_size


def _pair(size: Any) -> Any:
    return tuple(size) if isinstance(size, list | tuple) else (size, size)


def _require(child: Any, **settings: Any) -> None:
    """`InputError` if a setting differs; a number stands for a pair of it, too."""
    for setting, needed in settings.items():
        given = getattr(child, setting)
        if given != needed and _pair(given) != _pair(needed):
            raise InputError(f"has {setting}={given!r}; {setting}={needed!r} is needed here")


# -- changes of shape ---------------------------------------------------------------------------


def _flatten(chain: Chain, name: str, child: Any) -> None:
    axes = len(chain.shape) + 1
    first, last = child.start_dim % axes, child.end_dim % axes
    if (first, last) != (1, axes - 1):
        raise InputError(
            f"flattens the axes {child.start_dim} to {child.end_dim}, but must make rows: "
            "nn.Flatten()"
        )
    chain.flatten()


def _channels_first(chain: Chain, name: str, child: Any) -> None:
    height, width, channels = child.shape
    if chain.shape != (height * width * channels,) or chain.order is not None:
        raise InputError(f"takes rows of images {child.shape}, but gets samples {chain.shape}")
    chain.shape, chain.order = (channels, height, width), (height, width, channels)


def _channels_last(chain: Chain, name: str, child: Any) -> None:
    height, width, channels = _image(chain)
    chain.shape, chain.order = (height * width * channels,), None


# -- activations and residual layers ------------------------------------------------------------


def _activation(chain: Chain, name: str, child: Any) -> None:
    chain.activate(name, _formula(child))


def _formula(child: Any) -> Formula:
    """Return the activation of a module."""
    kind = next(own for own, theirs in ACTIVATIONS.items() if theirs == _kind(child))
    arguments: tuple[Any, ...] = ()
    if kind == "leaky_relu":
        arguments = (child.negative_slope,)
    elif kind == "polynomial":
        arguments = child.coefficients
    elif kind == "softplus":
        _require(child, beta=1.0)
        if child.threshold < 20:
            raise InputError(f"has threshold={child.threshold}; at least 20 is needed here")
    try:
        return FORMULAS[kind](*map(plain, arguments))
    except ValueError as error:
        raise InputError(f"cannot be used: {error}") from None


def _residual(chain: Chain, name: str, child: Any) -> None:
    inner = list(children(child.layers, f"{name.split()[1]}.layers."))
    if not (inner and _kind(inner[0][1]) in LAYERS and len(inner) <= 2):
        raise InputError("holds other modules than a layer with weights and its activation")
    if chain.order is not None and not chain.holds_images:
        raise InputError("follows nn.Flatten() of images, whose pixels have another order here")
    for key, module in inner:
        _read(chain, key, module)
    step = chain.steps[-1]
    step.name, step.residual = name, True
    _check_skip(step.layer, child.skip)


def _check_skip(layer: Layer, skip: Any) -> None:
    """`InputError` unless the module `skip` of a residual block is the S of its layer."""
    from fastbcd.export import torch_layers

    if layer.skip.is_identity:
        if type(skip) is library("torch").nn.Identity:
            return
    elif _kind(skip) == "Skip" and _is_ours(skip):
        expected = torch_layers.Skip(*skip_arguments(layer.skip))
        if (skip.kept, skip.zeros) == (expected.kept, expected.zeros):
            return
    raise InputError(
        f"has a skip connection {skip!r}, which is not that of a {layer.name} layer from "
        f"{layer.d_in} to {layer.d_out} numbers"
    )


Reader = Callable[[Chain, str, Any], None]
# Readers of modules of PyTorch, and of those that `fastbcd.export.torch_layers` defines.
LAYERS: dict[str, Reader] = {"Linear": _linear, "Conv2d": _conv2d}
MODULES: dict[str, Reader] = {
    **LAYERS,
    "MaxPool2d": _max_pool2d,
    "AvgPool2d": _average_pool2d,
    "AdaptiveAvgPool2d": _global_average,
    "Flatten": _flatten,
    **{name: _activation for name in ACTIVATIONS.values() if name != "Polynomial"},
}
OWN: dict[str, Reader] = {
    "Polynomial": _activation,
    "Residual": _residual,
    "ChannelsFirst": _channels_first,
    "ChannelsLast": _channels_last,
}
