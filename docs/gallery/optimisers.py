"""
Mini-batches against the usual optimisers
=========================================

Mini-batches need no tuning: batch size, step size and momentum follow from the number of samples
and the network. Here they run beside Adam and stochastic gradient descent of scikit-learn, each
with two learning rates.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier

from fastbcd import MiniBatchThreeSplitting, Problem, one_hot
from fastbcd.callbacks import Accuracy

X, y = load_digits(return_X_y=True)
X = X.astype("float32") / 16
X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=397, random_state=0)
passes = range(1, 13)

# %%
# All methods train a network 64-64-64-10, and see each of 1400 samples once in a pass.

solver = MiniBatchThreeSplitting(Problem((64, 64, 64, 10)))
callbacks = [Accuracy("test", X_test, y_test)]
result = solver.fit(X_train, one_hot(y_train), max_iter=len(passes), callbacks=callbacks)
lines = {"fastbcd": [record["test_accuracy"] for record in result.history]}
chosen = solver.settings(len(X_train))
print(f"fastbcd chose batches of {chosen.batch_size} and a step size of {chosen.step_size:.3f}")

# %%
# The others get batches of the same size. ``partial_fit`` makes one pass.

for optimiser, rate in (("adam", 1e-3), ("adam", 3e-3), ("sgd", 3e-2), ("sgd", 1e-1)):
    network = MLPClassifier(
        (64, 64),
        solver=optimiser,
        learning_rate_init=rate,
        batch_size=chosen.batch_size,
        random_state=0,
    )
    lines[f"{optimiser}, rate {rate:g}"] = accuracies = []
    for _ in passes:
        network.partial_fit(X_train, y_train, classes=np.arange(10))
        accuracies.append(network.score(X_test, y_test))

# %%
# The picture shows the accuracy on the 397 test samples, of which one counts 0.0025.

plt.rc("axes.spines", top=False, right=False)
figure, axis = plt.subplots(figsize=(8, 3.8), layout="constrained")
for (name, accuracies), look in zip(lines.items(), ("-o", "--s", ":s", "--^", ":^"), strict=True):
    axis.plot(passes, accuracies, look, markersize=4, label=name)
    first, third, last = (accuracies[i] for i in (0, 2, -1))
    print(f"{name}: after 1 pass {first:.3f}, after 3 {third:.3f}, at the end {last:.3f}")
axis.set(xlabel="passes over the data", ylabel="test accuracy")
figure.legend(loc="outside right center")
plt.show()

# %%
# The best rates are ahead in the first passes. At the end all lines are close to each other, and
# this is one seed on a small set, so nobody has won. The line of fastbcd is smooth at the end,
# because its schedule lets the steps go to 0 in the last pass, while the rates of scikit-learn
# stay as they are. :doc:`Mini-batches </mini-batches>` has a comparison on MNIST with five seeds,
# where Adam has a schedule, too.
