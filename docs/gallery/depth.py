"""
Depth 20 with and without skip connections
==========================================

A plain network of 20 layers is hard to train. In a residual network a hidden layer adds its states
to those of the layer below, and Algorithm 3 of the paper updates such blocks. This trains both on
mini-batches.
"""

import matplotlib.pyplot as plt
from sklearn.datasets import load_digits

from fastbcd import MiniBatchThreeSplitting, Problem, one_hot
from fastbcd.callbacks import Accuracy

X, y = load_digits(return_X_y=True)
X = X.astype("float32") / 16
X_train, y_train, X_test, y_test = X[:1400], y[:1400], X[1400:], y[1400:]

# %%
# ``residual=True`` stands for all hidden layers that are as wide as the layer below: here for all
# of the 20 but the first.


def run(residual):
    """Return the result of 12 passes over the samples."""
    problem = Problem((64, *[32] * 20, 10), residual=residual)
    callbacks = [Accuracy("test", X_test, y_test)]
    solver = MiniBatchThreeSplitting(problem, batch_size=50)
    return solver.fit(X_train, one_hot(y_train), max_iter=12, callbacks=callbacks)


runs = {"with skip connections": run(residual=True), "without": run(residual=False)}

# %%
# The picture shows the accuracy on 397 test samples.

plt.rc("axes.spines", top=False, right=False)
figure, axis = plt.subplots(figsize=(7, 3.8), layout="constrained")
for look, (name, result) in zip(("-o", "--s"), runs.items(), strict=True):
    passes = [record["iteration"] for record in result.history]
    accuracies = [record["test_accuracy"] for record in result.history]
    axis.plot(passes, accuracies, look, label=name)
    print(f"{name}: {accuracies[-1]:.3f}")
axis.set(xlabel="passes over the data", ylabel="test accuracy", ylim=(0, 1))
axis.legend(loc="lower right")
plt.show()

# %%
# With skip connections the network is ahead after every pass. On more samples the plain network
# catches up, but not entirely: :ref:`Mini-batches <mini-batches:Depth>` has both on MNIST.
