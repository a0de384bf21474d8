"""Images that are shifted and mirrored in place."""

from __future__ import annotations

import numpy as np

from fastbcd.kernels.jit import kernel


@kernel
def move_images(images, moves, height, width, padding):
    """``image_i[y, x, c] = image_i'[y + dy, x' + dx, c]``, or ``padding[c]`` outside the image.

    ``x'`` is x, or ``width - 1 - x`` where the image is mirrored. images (m, height width C), moves
    (m, 3) integers with the columns dy, dx and mirrored (0 or 1), padding (C,) float64. It
    allocates one image.
    """
    C, T = padding.shape[0], images.dtype.type
    before = np.empty(images.shape[1], images.dtype)
    for i in range(images.shape[0]):
        dy, dx, mirrored = moves[i, 0], moves[i, 1], moves[i, 2] != 0
        if dy == 0 and dx == 0 and not mirrored:
            continue
        for j in range(images.shape[1]):
            before[j] = images[i, j]
        for y in range(height):
            for x in range(width):
                row, column = y + dy, (width - 1 - x if mirrored else x) + dx
                to, source = (y * width + x) * C, (row * width + column) * C
                if 0 <= row < height and 0 <= column < width:
                    for c in range(C):
                        images[i, to + c] = before[source + c]
                else:
                    for c in range(C):
                        images[i, to + c] = T(padding[c])
