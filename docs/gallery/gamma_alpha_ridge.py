"""
gamma, alpha and ridge
======================

The objective of three-splitting has two weights and a penalty: gamma ties the states to the
network, alpha holds each block near its last value, and ridge keeps the weights small. This shows
what happens if each of them is far too small or far too large.
"""

import matplotlib.pyplot as plt
from sklearn.datasets import load_digits

from fastbcd import Problem, ThreeSplitting, one_hot
from fastbcd.callbacks import Accuracy, Objective

X, y = load_digits(return_X_y=True)
X = X.astype("float32") / 16

# %%
# The run in the middle has gamma 1, alpha 1e-3 and ridge 3e-4. Each of the others has a hundredth
# of one of these, or a hundred times as much.


def run(gamma=1.0, alpha=1e-3, ridge=3e-4):
    """Return F and test accuracy in 30 accelerated iterations of a network 64-64-64-10."""
    problem = Problem((64, 64, 64, 10), gamma=gamma, weight_penalty=f"ridge:{ridge}")
    solver = ThreeSplitting(problem, alpha=alpha, acceleration="nesterov")
    callbacks = [Objective(), Accuracy("test", X[1400:], y[1400:])]
    result = solver.fit(X[:1400], one_hot(y[:1400]), max_iter=30, callbacks=callbacks)
    return [[record[key] for record in result.history] for key in ("objective", "test_accuracy")]


plt.rc("axes.spines", top=False, right=False)
figure, axes = plt.subplots(2, 3, figsize=(9, 5.4), sharex=True, sharey="row", layout="constrained")
middle = {"gamma": 1.0, "alpha": 1e-3, "ridge": 3e-4}
for (upper, lower), (name, value) in zip(axes.T, middle.items(), strict=True):
    for factor, look in ((0.01, ":"), (1, "-"), (100, "--")):
        F, accuracy = run(**{name: factor * value})
        upper.semilogy(range(1, 31), F, look, label=f"{factor:g} times the middle")
        lower.plot(range(1, 31), accuracy, look)
        print(f"{name} {factor * value:g}: F {F[-1]:.4f}, test accuracy {accuracy[-1]:.3f}")
    upper.set_title(name)
    lower.set_xlabel("iteration")
axes[0, 0].set_ylabel("objective F")
axes[1, 0].set_ylabel("test accuracy")
figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=3)
plt.show()

# %%
# - *gamma*: another gamma is another objective, so the heights of the lines at the top left cannot
#   be compared. With a hundredth the states fit the targets, but the network does not follow them:
#   its accuracy falls again. A hundred times as much makes progress slow.
# - *alpha*: the dotted line lies on the solid one, and the dashed one is above it. alpha only
#   slows down. It should be small, but not 0, because the theorem needs it.
# - *ridge*: with too much of it F falls as it should, while the network unlearns nearly
#   everything. A theorem about F says nothing about accuracy.
