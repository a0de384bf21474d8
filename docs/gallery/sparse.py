"""
A sparse model with l1
======================

With ``weight_penalty="l1:STRENGTH"`` the update of weights is a proximal one, so that many weights
are exactly 0. Nothing has to be cut off afterwards.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits

from fastbcd import Problem, ThreeSplitting, one_hot

X, y = load_digits(return_X_y=True)
X = X.astype("float32") / 16

# %%
# A penalty for each layer stands between slashes: here l1 for the first one, and ridge for the
# others.


def train(strength):
    """Return the network after 30 accelerated iterations."""
    penalty = f"l1:{strength}/ridge:3e-4"
    problem = Problem((64, 32, 10), weight_penalty=penalty)
    solver = ThreeSplitting(problem, acceleration="nesterov")
    return solver.fit(X[:1400], one_hot(y[:1400]), max_iter=30).network


strengths = (1e-5, 1e-4, 3e-4, 1e-3)
networks = [train(strength) for strength in strengths]

# %%
# The last column of ``W[0]`` has the biases, which no penalty touches.

weights = [network.W[0][:, :-1] for network in networks]
zeros = [np.mean(W == 0) for W in weights]
accuracies = [np.mean(network.forward(X[1400:]).argmax(axis=1) == y[1400:]) for network in networks]
for strength, zero, accuracy in zip(strengths, zeros, accuracies, strict=True):
    print(f"l1 {strength:g}: {zero:.1%} of the weights are 0, test accuracy {accuracy:.3f}")

# %%
# On the left: both shares over the strength. On the right: how many of the 32 hidden units still
# look at each of the 8 x 8 pixels, for the strength 1e-4.

plt.rc("axes.spines", top=False, right=False)
figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.8), layout="constrained")
left.semilogx(strengths, zeros, "-o", label="weights of layer 1 that are 0")
left.semilogx(strengths, accuracies, "--s", label="test accuracy")
left.set(xlabel="strength of l1", ylabel="share", ylim=(0, 1.02))
left.legend()
used = np.count_nonzero(weights[1], axis=0).reshape(8, 8)
figure.colorbar(right.imshow(used, cmap="Blues", vmin=0), ax=right, label="units")
right.set(xticks=[], yticks=[], title="units that look at a pixel")
plt.show()
print(f"{np.sum(used == 0)} of 64 pixels are not looked at")

# %%
# The accuracy stays while most of the weights go. With a larger strength accuracy goes, too.
