"""Models in PyTorch: the state of a ``Sequential``, the module, and its source."""

from __future__ import annotations

import inspect
from typing import Any

from fastbcd.export.pieces import OWN, Piece, link, names, pieces, state
from fastbcd.export.support import cast, check_classes, has_probabilities, input_dtype, library
from fastbcd.models.model import Model
from fastbcd.support.floating_point import own_errstate
from fastbcd.support.version import __version__


@own_errstate
def torch_state(model: Model, dtype: str | None = None) -> dict[str, Any]:
    """State of the ``torch.nn.Sequential`` that `torch_module` returns: plain tensors by name.

    Without residual layers and polynomials that is a chain of PyTorch's own layers: a ``Linear``
    and an activation for each layer of the network (nothing for the linear one), and before them,
    where inputs are cut at a limit, ``Unflatten(-1, (d, 1))``, ``Conv1d(d, d, 1, groups=d)`` and
    ``Flatten(-2)`` that shift and scale, and ``Hardtanh(-limit, limit)``.

    Parameters
    ----------
    model : Model
    dtype : {"float32", "float64"}, optional
        Of tensors, and so of the inputs that the module takes; default: float64 where the network
        has it or float32 inputs would lose what matters, else float32 (`input_dtype`).

    Raises
    ------
    InputError
        PyTorch is not installed, an activation is a user's own, or numbers are beyond `dtype`.
    """
    torch = library("torch")
    chosen = input_dtype(model, dtype)
    return {key: torch.from_numpy(cast(tensor, chosen)) for key, tensor in state(pieces(model))}


@own_errstate
def torch_module(model: Model, probabilities: bool = False, dtype: str | None = None) -> Any:
    """``torch.nn.Sequential`` from raw inputs (n, d) to what the model computes.

    That is `Model.outputs` for classes (the largest one is the class), `Model.predict` for
    regression, (n, k). Keys of its state are those of `torch_state`.

    Parameters
    ----------
    model : Model
    probabilities : bool, default=False
        Append the layer that makes `Model.predict_proba` of outputs; it has no state.
    dtype : {"float32", "float64"}, optional
        As for `torch_state`.

    Raises
    ------
    InputError
        As for `torch_state`, or there are no probabilities.
    """
    torch = library("torch")
    from fastbcd.export import torch_layers

    def build(piece: Any) -> Any:
        if not isinstance(piece, Piece):
            return piece
        kind = getattr(torch_layers if piece.name in OWN else torch.nn, piece.name)
        return kind(*map(build, piece.arguments), **piece.keywords)

    chain = pieces(model) + ([link(model)] if probabilities else [])
    # On no device: nothing is initialised at random, and the caller's generator stays as it is.
    with torch.device("meta"):
        module = torch.nn.Sequential(*map(build, chain))
    module.load_state_dict(torch_state(model, dtype), assign=True)
    return module.eval()


@own_errstate
def torch_source(model: Model, dtype: str | None = None) -> str:
    """Python file that needs PyTorch alone: ``build(probabilities=False)`` and ``load(path)``.

    The first makes the module of `torch_module`, the second gives it the state in a file. Model
    and dtype as in `torch_state`.
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
