"""
Images with convolutions
========================

A convolution is a linear operator, so the blocks of the method stay as they are. This trains a
small network of images, and looks at its filters and at the digits that it misses.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits

from fastbcd import MiniBatchThreeSplitting, Problem, one_hot
from fastbcd.layers import build_layers
from fastbcd.plots import plot_filters, plot_missed

X, y = load_digits(return_X_y=True)
X = X.astype("float32") / 16

# %%
# Eight filters of 3 x 3 move over the images of 8 x 8 pixels in steps of one, and a dense layer of
# 32 follows. An image is a row of ``height x width x channels`` numbers.

layers = build_layers("conv:8:3,dense:32", (8, 8, 1), 10)
solver = MiniBatchThreeSplitting(Problem(layers=layers))
network = solver.fit(X[:1400], one_hot(y[:1400]), max_iter=12).network
outputs = network.forward(X[1400:])
predicted = outputs.argmax(axis=1)
print(f"test accuracy {np.mean(predicted == y[1400:]):.3f}")

# %%
# On the left the filters of the first layer: red is positive, blue is negative. On the right the
# test images that the network misses, with the true and the predicted digit; those with the
# largest outputs come first.

figure = plt.figure(figsize=(9, 4.2), layout="constrained")
left, right = figure.subfigures(1, 2, width_ratios=(1, 1.6))
plot_filters(network, ax=left.subplots())
plot_missed(X[1400:], y[1400:], predicted, (8, 8), outputs, most=15, figure=right)
plt.show()

# %%
# :doc:`Images and convolutions </images>` has the networks for MNIST and CIFAR-10, and how good
# they are.
