"""
The objective that never rises, and its certificate
===================================================

An iteration of block coordinate descent minimises the objective F over one block of variables
after another. So F falls in every iteration, without a learning rate and without luck. The
callback `fastbcd.callbacks.Certify` checks each run against the theorems of the paper.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits

from fastbcd import Problem, ThreeSplitting, one_hot
from fastbcd.callbacks import Certify, Objective
from fastbcd.plots import plot_objective, plot_subgradient

X, y = load_digits(return_X_y=True)
X, Y = X[:1400].astype("float32") / 16, one_hot(y[:1400])

# %%
# The network has two hidden layers of 64. `Objective` measures F in each iteration. `Certify` asks
# the blocks how far they moved, and evaluates a subgradient of F in every second iteration.

problem = Problem(widths=(64, 64, 64, 10), weight_penalty="ridge:3e-4")
solver = ThreeSplitting(problem, alpha=1e-3)
result = solver.fit(X, Y, max_iter=60, seed=0, callbacks=[Objective(), Certify(every=2)])

# %%
# The certificate has a line for each promise of the theorem: F never rises; it falls by a multiple
# of the squared step, where P are all blocks and P' those before the iteration; the subgradient g
# is bounded by the step; and the mean of its squares falls like 1/T.

print(result.certificate)

# %%
# On the left F falls in each of the 60 iterations. On the right its subgradients become small:
# their mean falls as fast as the dotted line, which is what the theorem promises.

F = np.array([record["objective"] for record in result.history])
print(f"F rose in {np.sum(np.diff(F) > 0)} of {len(F) - 1} iterations after the first")

plt.rc("axes.spines", top=False, right=False)
figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
plot_objective(result, ax=left)
plot_subgradient(result, ax=right)
plt.show()

# %%
# A small subgradient means that the run is near a critical point, which need not be a good
# network: look at the accuracy, too. Mini-batches get no certificate, because no theorem covers
# them. :ref:`The mathematics <mathematics:The certificate>` has the theorem.
