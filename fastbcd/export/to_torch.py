"""Models for PyTorch: the state of a ``Sequential``, the module, and its source code."""

from __future__ import annotations

import inspect
from typing import Any

from fastbcd.export.piece import OWN, Piece, names, state
from fastbcd.export.pieces import link, pieces
from fastbcd.export.support import cast, check_classes, has_probabilities, input_dtype, library
from fastbcd.models.model import Model
from fastbcd.support.floating_point import own_errstate
from fastbcd.support.version import __version__


@own_errstate
def torch_state(model: Model, dtype: str | None = None) -> dict[str, Any]:
    """State of the ``torch.nn.Sequential`` that `torch_module` returns: plain tensors by name.

    A dense network without residual layers and polynomials is a chain of PyTorch's own layers: for
    each layer of the network a ``Linear`` and an activation, except for the linear one. If inputs
    are cut at a limit, ``Unflatten(-1, (d, 1))``, ``Conv1d(d, d, 1, groups=d)`` and ``Flatten(-2)``
    come first to shift and scale, and then ``Hardtanh(-limit, limit)``.

    .. code-block:: text

        Conv2d            ->  Conv2d,    weight[o, c, i, j] = W[o, i, j, c]
        GroupedConv2d     ->  Conv2d,    the same, c within the group
        MaxPool2d         ->  MaxPool2d
        AveragePool2d     ->  AvgPool2d
        Dense of images   ->  Flatten(-3) and Linear,  weight[o, (c, y, x)] = W[o, (y, x, c)]

    If the first layer takes images, a layer ``ChannelsFirst(H, W, C)`` brings rows (n, H W C) into
    the order (n, C, H, W), which the states then keep. ``Conv2d(C, C, 1, groups=C)`` shifts and
    scales channels, if the input is scaled. The file of `torch_source` defines ``ChannelsFirst``.

    Parameters
    ----------
    model : Model
    dtype : {"float32", "float64"}, optional
        Type of the tensors, and so of the inputs of the module; default: float64 if the network
        has it or if float32 inputs would lose digits that matter, else float32 (`input_dtype`).

    Raises
    ------
    InputError
        PyTorch is not installed, a user wrote an activation or a type of layer, or a number is
        too large for `dtype`.
    """
    torch = library("torch")
    chosen = input_dtype(model, dtype)
    return {key: torch.from_numpy(cast(tensor, chosen)) for key, tensor in state(pieces(model))}


@own_errstate
def torch_module(model: Model, probabilities: bool = False, dtype: str | None = None) -> Any:
    """``torch.nn.Sequential`` from raw inputs (n, d) to outputs (n, k).

    Rows of images have their channels last, as in `Model.predict`. Images (n, C, H, W) become such
    rows by ``images.permute(0, 2, 3, 1).flatten(1)``.

    They are `Model.outputs` for classes (the largest one is the class) and for several labels
    (those above 0), and `Model.predict` for regression. Its state has the keys of `torch_state`.

    Parameters
    ----------
    model : Model
    probabilities : bool, default=False
        Whether to append the layer from outputs to `Model.predict_proba`; it has no state.
    dtype : {"float32", "float64"}, optional
        As for `torch_state`.

    Raises
    ------
    InputError
        As for `torch_state`, or the model has no probabilities.
    """
    torch = library("torch")
    from fastbcd.export import torch_layers

    def build(piece: Any) -> Any:
        if not isinstance(piece, Piece):
            return piece
        kind = getattr(torch_layers if piece.name in OWN else torch.nn, piece.name)
        keywords = {name: build(value) for name, value in piece.keywords.items()}
        return kind(*map(build, piece.arguments), **keywords)

    chain = pieces(model) + ([link(model)] if probabilities else [])
    # On the device "meta" nothing is initialised, so the random generator of the caller stays as
    # it is.
    with torch.device("meta"):
        module = torch.nn.Sequential(*map(build, chain))
    module.load_state_dict(torch_state(model, dtype), assign=True)
    return module.eval()


@own_errstate
def torch_source(model: Model, dtype: str | None = None) -> str:
    """Source of a Python file with ``build(probabilities=False)`` and ``load(path)``.

    It needs only PyTorch. ``build`` makes the module of `torch_module`, and ``load`` gives it the
    state in a file. Parameters `model` and `dtype` as in `torch_state`.
    """
    library("torch")
    check_classes(model)
    from fastbcd.export import torch_layers

    chain, chosen = pieces(model), input_dtype(model, dtype).name
    last = [link(model)] if has_probabilities(model) else []
    own = [name for name in OWN if name in names(chain + last)]
    classes = None if model.classes is None else model.classes.tolist()
    refuse = '        raise ValueError("this model has no probabilities")'
    return "\n".join(
        [
            f'"""Network in PyTorch, by fastbcd {__version__}: ``load("model.pt")``.',
            "",
            f"Takes raw inputs (n, {model.network.widths[0]}) in {chosen}.",
            '"""',
            "",
            "from __future__ import annotations",
            "",
            "import torch",
            "from torch import nn",
            "",
            f"FEATURES = {model.feature_names!r}",
            f"INPUT_KIND = {model.input_kind!r}  # of the dtype that inputs had in training",
            f"IMAGE_SHAPE = {model.image_shape!r}",
            f"CLASSES = {classes!r}",
            f"MULTI_LABEL = {model.multi_label!r}  # whether a sample has any number of them",
            "",
            *(f"\n{inspect.getsource(getattr(torch_layers, name))}" for name in own),
            "",
            "def build(probabilities: bool = False) -> nn.Sequential:",
            '    """The network, its numbers at random; if asked, probabilities come last."""',
            "    layers: list[nn.Module] = [",
            *(f"        {piece!r}," for piece in chain),
            "    ]",
            "    if probabilities:",
            *([f"        layers.append({last[0]!r})"] if last else [refuse]),
            f"    return nn.Sequential(*layers).to(torch.{chosen})",
            "",
            "",
            "def load(path: str, probabilities: bool = False) -> nn.Sequential:",
            '    """The network with the state in a file."""',
            "    network = build(probabilities)",
            "    network.load_state_dict(torch.load(path, weights_only=True))",
            "    return network.eval()",
            "",
        ]
    )
