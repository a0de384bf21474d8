"""
Non-negative weights
====================

A penalty may be a constraint, such as ``"nonnegative"`` or ``"box:LOW,HIGH"``. After each
iteration every weight satisfies it exactly, because the proximal operator of a constraint is the
projection. Hidden units with weights that are not negative can only add up pixels, so what they
look for can be seen.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits

from fastbcd import Problem, ThreeSplitting, one_hot

X, y = load_digits(return_X_y=True)
X = X.astype("float32") / 16

# %%
# Both networks have 24 hidden units. One may have any weights, and the other has weights of its
# first layer that are not negative. Biases are free in both.


def train(penalty):
    """Return the network after 40 accelerated iterations."""
    problem = Problem((64, 24, 10), weight_penalty=penalty)
    solver = ThreeSplitting(problem, acceleration="nesterov")
    return solver.fit(X[:1400], one_hot(y[:1400]), max_iter=40).network


networks = {
    "any weights": train("ridge:3e-4"),
    "no negative weights": train("nonnegative/ridge:3e-4"),
}

# %%
# Each square shows the weights of one hidden unit, divided by the largest of them: red is
# positive, blue is negative, white is 0.

figure, axes = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
for axis, (name, network) in zip(axes, networks.items(), strict=True):
    W = network.W[0][:, :-1]
    accuracy = np.mean(network.forward(X[1400:]).argmax(axis=1) == y[1400:])
    print(f"{name}: smallest {W.min():.3f}, {np.mean(W == 0):.1%} are 0,", end=" ")
    print(f"test accuracy {accuracy:.3f}")
    units = (W / np.abs(W).max(axis=1, keepdims=True)).reshape(24, 8, 8)
    framed = np.pad(units, ((0, 0), (1, 1), (1, 1)), constant_values=np.nan)
    tiles = framed.reshape(4, 6, 10, 10).swapaxes(1, 2).reshape(40, 60)
    image = axis.imshow(tiles, cmap="RdBu_r", vmin=-1, vmax=1)
    axis.set_title(name)
    axis.set_axis_off()
figure.colorbar(image, ax=axes, label="weight / largest weight", shrink=0.8)
plt.show()

# %%
# The constraint costs accuracy, because a unit can no longer ask that a pixel be empty.
# :ref:`Choosing <choosing:Activation and loss>` lists the other penalties and constraints.
