"""
The kernels in a solver of one's own
====================================

`fastbcd.kernels` has the compiled pieces without the networks. Your own compiled function may call
them. This one is an accelerated proximal gradient method for ``sum_i loss(W x_i + b; y_i) +
r(W)``, with any smooth loss and any penalty.
"""

import matplotlib.pyplot as plt
import numpy as np
from numba import njit
from sklearn.datasets import load_digits

from fastbcd import kernels, one_hot

# %%
# Kernels write their first argument, and allocate nothing. ``loss.row_gradient`` and
# ``penalty.prox`` are inlined into the loop.


@njit(nogil=True)
def minimise(W, X, Y, loss, penalty, step, objectives):
    """Write F before each iteration into `objectives`; the last column of W has the biases."""
    (k, d), t = (W.shape[0], W.shape[1] - 1), 1.0
    V, G, gradient = np.empty_like(Y), np.empty_like(Y), np.empty((k, d), W.dtype)
    Q, before = W.copy(), W.copy()
    for n in range(len(objectives)):
        kernels.affine(V, X, Q[:, :d], Q[:, d])
        for i in range(len(X)):
            objectives[n] += loss.row_value(V[i], Y[i])
            loss.row_gradient(G[i], V[i], Y[i])
        kernels.transposed_product(gradient, G, X, 1.0, 0.0)
        after = 0.5 + np.sqrt(0.25 + t * t)
        for a in range(k):
            for j in range(d):
                objectives[n] += penalty.value(Q[a, j])
                W[a, j] = penalty.prox(Q[a, j] - step * gradient[a, j], step)
            W[a, d] = Q[a, d] - step * G[:, a].sum()
        for a in range(k):
            for j in range(d + 1):
                Q[a, j] = W[a, j] + (t - 1) / after * (W[a, j] - before[a, j])
                before[a, j] = W[a, j]
        t = after


# %%
# Softmax regression of digits with an l1 penalty. The step is 1 over a bound of the curvature.

X, y = load_digits(return_X_y=True)
X, Y = np.float32(X / 16), np.float32(one_hot(y))
step = 2 / np.linalg.norm(np.c_[X, np.ones(len(X))], 2) ** 2
W, objectives = np.zeros((10, 65), np.float32), np.zeros(300)
minimise(W, X, Y, kernels.cross_entropy(), kernels.l1(2.0), np.float32(step), objectives)
print(f"F fell from {objectives[0]:.1f} to {objectives[-1]:.1f}")
print(f"{np.mean(W[:, :-1] == 0):.1%} of the weights are 0")
accuracy = np.mean((X @ W[:, :-1].T + W[:, -1]).argmax(axis=1) == y)
print(f"{accuracy:.1%} of the digits are right")

# %%
# The weights of each digit: where red pixels are bright the digit is likely, where blue ones are
# bright it is not, and white ones do not count.

largest = np.abs(W[:, :-1]).max()
figure, axes = plt.subplots(2, 5, figsize=(8, 3.6), layout="constrained")
for digit, axis in enumerate(axes.flat):
    image = axis.imshow(W[digit, :-1].reshape(8, 8), cmap="RdBu_r", vmin=-largest, vmax=largest)
    axis.set(title=digit, xticks=[], yticks=[])
figure.colorbar(image, ax=axes, label="weight")
plt.show()

# %%
# :doc:`The table of kernels </reference/kernel-tables>` lists all of them, with four more
# examples.
