"""The patches of flattened images, and where the pixels lie that they are made of.

An image is a row of ``height width channels`` numbers, channels last. A pixel outside the image is
0.
"""

from __future__ import annotations

from typing import NamedTuple

from fastbcd.kernels.copying import copy_run
from fastbcd.kernels.jit import kernel

# The patches of the images of one product: a product of many rows takes less time for each.
PATCH_BYTES = 2**20


class Window(NamedTuple):
    """The patches of an image: patch (y, x) begins at pixel (step_y y + first_y, ...)."""

    height: int
    width: int
    channels: int
    patch_height: int
    patch_width: int
    step_y: int
    step_x: int
    first_y: int
    first_x: int
    rows: int
    columns: int


@kernel
def gather_patches(out, images, window):
    """``out[n, y, x, i, j, c] = images[n, step_y y + first_y + i, step_x x + first_x + j, c]``.

    images (m, height width channels); out (m rows columns, patch_height patch_width channels),
    with zeros where a patch reaches beyond the image; `window` is a `Window`.
    """
    C = window.channels
    line, k = window.patch_width * C, 0
    for n in range(images.shape[0]):
        for y in range(window.rows):
            top = y * window.step_y + window.first_y
            for x in range(window.columns):
                left = x * window.step_x + window.first_x
                # Elements low..high of a line of the patch lie within the image, and side by side.
                low = min(max(-left, 0), window.patch_width) * C
                high = max(min(window.width - left, window.patch_width) * C, low)
                for i in range(window.patch_height):
                    start = i * line
                    if top + i < 0 or top + i >= window.height:
                        for j in range(line):
                            out[k, start + j] = 0.0
                        continue
                    source = ((top + i) * window.width + left) * C
                    for j in range(low):
                        out[k, start + j] = 0.0
                    copy_run(out, k, start + low, images, n, source + low, high - low)
                    for j in range(high, line):
                        out[k, start + j] = 0.0
                k += 1


def transposed_window(window, d):
    """Return the `Window` of the patches of a convolution's results, for the adjoint of it.

    Pixels ``step q + r + first`` of an image, r = 0..step - 1, are reached from the positions
    ``q, q - 1, ...`` by the elements ``r, r + step, ...`` of the kernel. So patch q has these
    positions, and there is one for each q that has a pixel. `d` is the number of channels there.
    """
    tall = (window.patch_height + window.step_y - 1) // window.step_y
    wide = (window.patch_width + window.step_x - 1) // window.step_x
    q_y, q_x = -window.first_y // window.step_y, -window.first_x // window.step_x
    rows = (window.height - 1 - window.first_y) // window.step_y - q_y + 1
    columns = (window.width - 1 - window.first_x) // window.step_x - q_x + 1
    first_y, first_x = q_y - tall + 1, q_x - wide + 1
    return Window(
        window.rows, window.columns, d, tall, wide, 1, 1, first_y, first_x, rows, columns
    )  # fmt: skip
