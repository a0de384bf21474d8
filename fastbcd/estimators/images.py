"""Images as inputs of an estimator with `layers`: their shape, and their rows."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from fastbcd.data.inputs import check_same_shape
from fastbcd.errors import InputError
from fastbcd.support.parameters import plain, require_integer

Shape = tuple[int, ...]


def checked_shape(given: Any) -> Shape | None:
    """Return the parameter ``image_shape`` as (H, W, C); None stays None."""
    given = plain(given)
    if given is None:
        return None
    if not isinstance(given, list | tuple | np.ndarray) or len(given) not in (2, 3):
        raise InputError(f"image_shape must be (H, W, C) or (H, W), got {given!r}")
    sizes = tuple(require_integer(size, "image_shape", at_least=1) for size in given)
    return sizes if len(sizes) == 3 else (*sizes, 1)


def image_rows(X: Any, shape: Shape | None, trained: bool) -> tuple[Any, Shape | None]:
    """Return images X (n, H, W, C) or (n, H, W) as rows (n, H W C), and (H, W, C).

    Rows of numbers stay as they are, and are images if their `shape` is known.

    Parameters
    ----------
    X : array or data frame
    shape : (H, W, C), optional
        Shape that the images must have.
    trained : bool
        Whether `shape` is that of the images in training, rather than of ``image_shape``.

    Raises
    ------
    InputError
        The images have another shape, or more axes.
    """
    if hasattr(X, "columns") or np.ndim(X) < 3:
        if shape is not None and np.ndim(X) == 2 and np.shape(X)[1] != math.prod(shape):
            raise InputError(
                f"X has {np.shape(X)[1]} features, but an image of shape {shape} has "
                f"{math.prod(shape)}"
            )
        return X, shape
    images = np.asarray(X)
    if images.ndim > 4 or 0 in images.shape:
        raise InputError(
            f"X must be images (n, H, W, C) or (n, H, W), or rows (n, d), got shape {images.shape}"
        )
    own = images.shape[1:] if images.ndim == 4 else (*images.shape[1:], 1)
    if shape is not None and own != shape:
        what = "the model was trained on images" if trained else "image_shape: images are"
        check_same_shape(shape, own, what, "X has")
    return images.reshape(len(images), math.prod(own)), shape or own
