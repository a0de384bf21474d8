"""Convolutions on a GPU: patches of some images at a time, and products of cuBLAS with them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from fastbcd.devices.workspace import Buffer, Workspace, Workspaces
from fastbcd.kernels import Window
from fastbcd.kernels import cuda as kernels
from fastbcd.kernels.patches import transposed_window

# The patches of the images of one call have at most so many bytes, or are those of one image.
GROUP_BYTES = 2**28


class ConvolutionWork(Workspace):
    """Work arrays of a group of images."""

    patches: Buffer
    results: Buffer
    sums: Buffer


class Convolutions:
    """Functions with the names and arguments of `fastbcd.kernels.convolution`.

    Groups of images follow one another and each product has a fixed order of sums. The transposed
    convolution is a convolution of the results, so no two threads add to one pixel. Results repeat
    to the last bit. Factors that are numbers may also be elements on the GPU.
    """

    def __init__(self, library: Any, work: Workspaces) -> None:
        self._library, self._work = library, work

    def _groups(self, V: Any, window: Window) -> Iterator[tuple[slice, slice, Any]]:
        """Yield slices of images and of their positions, and the patches of V there."""
        n = window.rows * window.columns
        k = window.patch_height * window.patch_width * window.channels
        size = max(1, GROUP_BYTES // max(n * k * V.dtype.itemsize, 1))
        for start in range(0, len(V), size):
            images = slice(start, min(start + size, len(V)))
            positions = slice(images.start * n, images.stop * n)
            shape = positions.stop - positions.start, k
            patches = self._work.of(ConvolutionWork).patches.array(shape, V.dtype)
            kernels.gather_patches(patches, V[images], window)
            yield images, positions, patches

    def convolve(self, U: Any, V: Any, W: Any, bias: Any, window: Window) -> None:
        """``U = P W^T + bias``; see `fastbcd.kernels.convolve`."""
        for _, positions, patches in self._groups(V, window):
            out, keep = U[positions], 0.0
            if bias is not None:
                kernels.residual_of_bias(out, None, bias)
                keep = 1.0
            self._library.gemm(out, patches, W, 1.0, keep, transpose_B=True)

    def transposed_weights(self, W: Any, window: Window) -> Any:
        """Return W for `convolve_transposed`; see `fastbcd.kernels.transposed_weights`."""
        tall = -(-window.patch_height // window.step_y)
        wide = -(-window.patch_width // window.step_x)
        shape = tall * wide * len(W), window.step_y * window.step_x * window.channels
        out = self._library.empty(shape, W.dtype)
        kernels.write_transposed_weights(out, W, window)
        return out

    def convolve_transposed(
        self, V: Any, R: Any, W: Any, window: Window, scale: Any, keep: float
    ) -> None:
        """``V = scale A*(R) + keep V``; see `fastbcd.kernels.convolve_transposed`."""
        back = transposed_window(window, R.shape[1] // (window.rows * window.columns))
        for images, _, patches in self._groups(R, back):
            shape = len(patches), W.shape[1]
            pixels = self._work.of(ConvolutionWork).results.array(shape, V.dtype)
            self._library.gemm(pixels, patches, W)
            kernels.place_pixels(V[images], pixels, window, back, scale, keep)

    def convolution_gradient(
        self, N: Any, D: Any, V: Any, window: Window, scale: Any, keep: float
    ) -> None:
        """``N = scale sum_p D_p^T [P_p, 1] + keep N``, as in `fastbcd.kernels`."""
        kernels.scaled_sums(N[:, -1:], self._column_sums(D).reshape(-1, 1), scale, keep)
        for _, positions, patches in self._groups(V, window):
            self._library.gemm(N[:, :-1], D[positions], patches, scale, keep, transpose_A=True)
            keep = 1.0

    def patch_sketch(
        self, out: Any, V: Any, Q: Any, window: Window, scale: float, keep: float
    ) -> Any:
        """``out = scale sum_p P^_p^T (P^_p Q) + keep out``; see `fastbcd.kernels.patch_sketch`."""
        squares, bias = 0.0, Q[-1].copy()
        for _, _, patches in self._groups(V, window):
            shape = len(patches), Q.shape[1]
            projected = self._work.of(ConvolutionWork).results.array(shape, Q.dtype)
            kernels.residual_of_bias(projected, None, bias)
            self._library.gemm(projected, patches, Q[:-1], 1.0, 1.0)
            self._library.gemm(out[:-1], patches, projected, scale, keep, transpose_A=True)
            sums = self._column_sums(projected).reshape(1, -1)
            kernels.scaled_sums(out[-1:], sums, scale, keep)
            squares, keep = squares + kernels.squared_norm(patches), 1.0
        return squares + len(V) * window.rows * window.columns

    def _column_sums(self, A: Any) -> Any:
        """Return the sums over the rows of A, in float64."""
        sums = self._work.of(ConvolutionWork).sums.array((A.shape[1],), np.float64)
        sums[...] = 0.0
        kernels.add_column_sums(sums, A)
        return sums
