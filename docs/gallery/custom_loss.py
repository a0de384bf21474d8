"""
A loss of one's own
===================

A loss needs two compiled functions: its value, and its proximal operator. This adds the loss of
support vector regression, which is 0 while a prediction misses its target by less than a
tolerance, and grows linearly from there on. So single targets that are far off hardly count.
"""

import matplotlib.pyplot as plt
import numpy as np

from fastbcd import MiniBatchThreeSplitting, Problem
from fastbcd.kernels import Loss
from fastbcd.kernels.jit import scalar

# %%
# ``row_value`` gets the outputs v and the targets y of a sample, and ``p``, the parameters of the
# loss. ``row_prox`` writes the minimiser of ``loss(v; y) + q/2 |v - center|^2``: a center within
# the tolerance stays, and others move towards it by at most ``1/q``.


@scalar
def row_value(v, y, p):
    """Return ``sum_j max(0, |v_j - y_j| - tolerance)``."""
    total = 0.0
    for j in range(v.shape[0]):
        total += max(abs(np.float64(v[j]) - y[j]) - p[0], 0.0)
    return total


@scalar
def row_prox(out, center, work, y, q, p):
    """Move each center towards the targets, by at most ``1/q`` and not beyond the tolerance."""
    for j in range(out.shape[0]):
        miss = center[j] - y[j]
        step = min(max(abs(miss) - p[0], 0.0), 1.0 / q)
        out[j] = center[j] - step * np.sign(miss)


# %%
# The parameters are run-time numbers, so another tolerance compiles nothing again. Mini-batches
# tie the outputs to the network with a weight of gamma. A loss that is far from a parabola needs a
# larger one, and ``stiffness`` multiplies it.

tolerant = Loss(
    "tolerant", parameters=(0.1,), stiffness=100.0, row_value=row_value, row_prox=row_prox
)

# %%
# The samples lie on a curve, except for every tenth one, which is far above it.

draw = np.random.default_rng(0)
x = np.sort(draw.uniform(-1, 1, 300))
curve = np.sin(3 * x)
target = curve + 0.1 * draw.standard_normal(300)
target[::10] += draw.uniform(2, 4, 30)

# %%
# `Problem` takes the loss itself in place of its name.

plt.rc("axes.spines", top=False, right=False)
figure, axis = plt.subplots(figsize=(7, 3.8), layout="constrained")
axis.plot(x, target, ".", color="grey", markersize=4, label="samples")
axis.plot(x, curve, color="black", linewidth=1, label="curve")
for loss, name, look in (("squared", "squared", "--"), (tolerant, "tolerant", "-")):
    problem = Problem((1, 32, 32, 1), loss=loss)
    solver = MiniBatchThreeSplitting(problem, batch_size=50)
    network = solver.fit(x[:, None], target[:, None], max_iter=100).network
    fitted = network.forward(x[:, None])[:, 0]
    axis.plot(x, fitted, look, label=f"{name} loss")
    print(f"{name}: mean distance from the curve {np.mean(np.abs(fitted - curve)):.3f}")
axis.set(xlabel="x", ylabel="target")
figure.legend(loc="outside right center")
plt.show()

# %%
# The squared loss follows the mean, so samples far above pull its line up. The line of the other
# loss stays with the nine tenths that lie on the curve.
