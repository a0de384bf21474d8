"""
Export to ONNX
==============

A trained network leaves fastbcd as a graph of ONNX, which other programs run without fastbcd and
without Python. The graph takes raw inputs, because it includes their scaling, and gives outputs,
probabilities and labels.
"""

import importlib.util

import matplotlib.pyplot as plt
import numpy as np
from onnx.reference import ReferenceEvaluator
from sklearn.datasets import load_digits

from fastbcd import MiniBatchThreeSplitting, Model, Problem, one_hot
from fastbcd.data import Preprocessing
from fastbcd.export import onnx_model

# %%
# A `Model` is a network with its classes and the scaling of its inputs: here grey levels of 0 to
# 16.

X, y = load_digits(return_X_y=True)
scaling = Preprocessing.fit(X, "unit")
solver = MiniBatchThreeSplitting(Problem((64, 64, 64, 10)))
network = solver.fit(scaling(X[:1400], "float32"), one_hot(y[:1400]), max_iter=12).network
model = Model(network, np.arange(10), scaling, loss="squared")
graph = onnx_model(model)
print(f"{len(graph.graph.node)} nodes, {len(graph.SerializeToString())} bytes")

# %%
# The package onnx has a slow interpreter of graphs. Does it find what the model finds?

inputs = {"X": X[1400:].astype(np.float32)}
outputs, probabilities, labels = ReferenceEvaluator(graph).run(None, inputs)
difference = np.abs(probabilities - model.predict_proba(X[1400:])).max()
print(f"largest difference of probabilities: {difference:.1e}")
print(f"the same labels: {np.array_equal(labels, model.predict(X[1400:]))}")

# %%
# The program that people use is onnxruntime.

if importlib.util.find_spec("onnxruntime") is None:
    print("onnxruntime is not installed here, so the graph does not run in it.")
else:
    import onnxruntime

    session = onnxruntime.InferenceSession(graph.SerializeToString())
    same = np.array_equal(session.run(["label"], inputs)[0], labels)
    print(f"the same labels in onnxruntime: {same}")

# %%
# Twelve test images, with the label and the probability that the graph gives.

figure, axes = plt.subplots(2, 6, figsize=(8, 3.4), layout="constrained")
for i, axis in enumerate(axes.flat):
    axis.imshow(X[1400 + i].reshape(8, 8), cmap="gray_r")
    axis.set(xticks=[], yticks=[], title=f"{labels[i]} ({probabilities[i].max():.0%})")
plt.show()

# %%
# From the command line the same is ``fastbcd export FOLDER --to onnx``. :doc:`Models elsewhere
# </models>` has the export to PyTorch, too.
