"""The confusion matrix of a classifier."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from fastbcd.data.label_values import faithful
from fastbcd.errors import InputError
from fastbcd.plots.style import axes_or_new, style
from fastbcd.plots.text import literal
from fastbcd.support.floating_point import own_errstate
from fastbcd.support.parameters import plain

# With more classes than this, counts would not be readable; colours and their scale remain.
COUNTED = 20
# Most classes whose names are written at the axes.
NAMED = 20


def confusion_size(n_classes: int) -> tuple[float, float]:
    """Suitable width and height, in inches, for a picture of `n_classes`."""
    if n_classes > COUNTED:
        return 9.0, 7.8
    return 2.2 + 0.5 * max(n_classes, 6), 2.2 + 0.5 * max(n_classes, 6)


@own_errstate
def plot_confusion(
    labels: ArrayLike, predicted: ArrayLike, classes: ArrayLike | None = None, ax: Any = None
) -> Any:
    """Draw how many samples of each class (row) were predicted as which (column); return the Axes.

    A field is the darker the larger its share of the samples of its row. Fields without a sample
    stay empty. Above 20 classes a scale of the colours replaces the numbers.

    Parameters
    ----------
    labels, predicted : (n,) array
        Known and predicted classes.
    classes : array, optional
        All classes in the order of rows; default: those that occur, sorted.
    ax : matplotlib Axes, optional
        Default: Axes of a new figure of pyplot.

    Raises
    ------
    InputError
        Vectors of different lengths, no samples, a label that is not among `classes`, or
        matplotlib is not installed.
    """
    labels, predicted = faithful(labels, "labels"), faithful(predicted, "predicted")
    if labels.ndim != 1 or labels.shape != predicted.shape or len(labels) == 0:
        raise InputError(
            "labels, predicted: two vectors of the same length are needed, got shapes "
            f"{labels.shape} and {predicted.shape}"
        )
    names = (
        np.unique(np.concatenate([labels, predicted]))
        if classes is None
        else faithful(classes, "classes")
    )
    unknown = np.setdiff1d(np.concatenate([labels, predicted]), names)
    if len(unknown):
        raise InputError(f"classes: the label {plain(unknown[0])!r} is not among them")
    with style():
        from sklearn.metrics import confusion_matrix

        counts = confusion_matrix(labels, predicted, labels=names)
        ax = axes_or_new(ax, *confusion_size(len(names)))
        rows = np.maximum(counts.sum(axis=1, keepdims=True), 1)
        image = ax.imshow(counts / rows, cmap="Blues", vmin=0.0, vmax=1.0)
        if len(names) <= COUNTED:
            for i, j in np.argwhere(counts):
                dark = counts[i, j] > 0.5 * rows[i, 0]
                colour = "white" if dark else "black"
                ax.text(j, i, str(counts[i, j]), ha="center", va="center", color=colour)
        else:
            ax.figure.colorbar(image, ax=ax, label="share of the class's samples", shrink=0.8)
        places = np.arange(0, len(names), -(-len(names) // NAMED))
        long = max(len(str(names[k])) for k in places) > 3
        ax.set_xticks(places, [literal(names[k]) for k in places], rotation=90 if long else 0)
        ax.set_yticks(places, [literal(names[k]) for k in places])
        ax.tick_params(length=0)
        edges = np.arange(1, len(names)) - 0.5
        if len(names) <= COUNTED:
            ax.hlines(edges, -0.5, len(names) - 0.5, color="#dddddd", linewidth=0.6)
            ax.vlines(edges, -0.5, len(names) - 0.5, color="#dddddd", linewidth=0.6)
        for side in ax.spines.values():
            side.set_visible(True)
        ax.set_xlabel("predicted class")
        ax.set_ylabel("true class")
        right = int(np.trace(counts))
        ax.set_title(
            f"accuracy {right / len(labels):.4f}: {right} of {len(labels)} samples", loc="left"
        )
    return ax
