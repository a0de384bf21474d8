"""Settings of the methods of `race.py`: what `--tune` tries, and what it found.

A network is named with its inputs and its classes, such as ``784-500x2-10``.
"""

from __future__ import annotations

from typing import Any

NETWORKS = {
    "mnist": ((500, 500), (1500, 1500, 1500), (600,) * 10),
    "cifar": ((1000, 1000, 1000),),
}
OUTPUT_METRIC = {"output_rank": 16, "damping": 2.0, "weight_decay": 0.005, "schedule": "linear"}


def grid(
    batches: tuple[int, int], step: str, sizes: tuple[float, ...], **fixed: Any
) -> list[dict[str, Any]]:
    """All pairs of a batch size and a `step`, which is a rate or a step size."""
    return [{"batch": batch, step: size, **fixed} for batch in batches for size in sizes]


GRIDS: dict[str, list[dict[str, Any]]] = {
    "mini-batch": grid((125, 250), "step_size", (0.1, 0.2, 0.4), **OUTPUT_METRIC),
    "muon": grid((128, 512), "rate", (0.02, 0.05, 0.1), schedule="linear"),
    "adam": grid((128, 512), "rate", (3e-4, 1e-3, 3e-3)),
    "sgd": grid((128, 512), "rate", (0.03, 0.1, 0.2), schedule="one-cycle"),
    "soap": grid((128, 512), "rate", (1e-3, 3e-3, 6e-3), schedule="linear"),
    "shampoo": grid((128, 512), "rate", (0.03, 0.1, 0.3), schedule="linear"),
    "schedule-free": grid((128, 512), "rate", (1e-3, 3e-3, 6e-3), schedule="constant"),
}
# A step of Muon or SOAP costs a fixed time. On networks other than 784-500x2-10 that is the time of
# hundreds of samples, so these two get larger batches there.
LARGE = {
    "muon": grid((512, 1024), "rate", (0.02, 0.05, 0.1), schedule="linear"),
    "soap": grid((512, 1024), "rate", (1e-3, 3e-3, 6e-3), schedule="linear"),
}
# Rates that are tried beyond an edge, and the accuracy given up for a larger batch.
BEYOND, CLOSE = 2, 0.002


def grids_of(method: str, network: str) -> list[dict[str, Any]]:
    """Return the settings that ``--tune`` tries first."""
    large = "" if network == "784-500x2-10" else method
    return LARGE.get(large, GRIDS[method])


def beyond(best: dict[str, Any], tried: list[dict[str, Any]]) -> dict[str, Any] | None:
    """Return the setting beyond `best` if that is at an edge of the rates of its batch size."""
    step = "step_size" if "step_size" in best else "rate"
    sizes = sorted(one[step] for one in tried if one["batch"] == best["batch"])
    if best[step] == sizes[-1]:
        further = sizes[-1] ** 2 / sizes[-2]
    elif best[step] == sizes[0]:
        further = sizes[0] ** 2 / sizes[1]
    else:
        return None
    return {**best, step: float(f"{further:.2g}")}


def choice(tried: list[tuple[dict[str, Any], float]]) -> dict[str, Any]:
    """Return the best setting of the largest batch size that is `CLOSE` to the best of all.

    Larger batches take less time for a pass.
    """
    best: dict[int, tuple[dict[str, Any], float]] = {}
    for settings, accuracy in tried:
        batch = settings["batch"]
        if batch not in best or accuracy > best[batch][1]:
            best[batch] = settings, accuracy
    enough = max(accuracy for _, accuracy in tried) - CLOSE
    return best[max(batch for batch, (_, accuracy) in best.items() if accuracy >= enough)][0]


# Winners by method, network and passes. Those of 784-500x2-10, and of five and ten passes, are from
# an earlier rule: the best of six settings, and of one more beyond an edge where a list shows it.
# Held-out accuracy of Adam for the rates 3e-4, 1e-3, 3e-3:
#                    batch 128                   batch 512
#     500x2,  5:  0.9725  0.9800  0.9825      0.9628  0.9749  0.9800
#     500x2, 10:  0.9791  0.9830  0.9838      0.9727  0.9791  0.9819
#     1500x3, 5:  0.9812  0.9838  0.9821      0.9768  0.9807  0.9813
#     1500x3, 10: 0.9826  0.9840  0.9808      0.9791  0.9827  0.9820
#     600x10, 5:  0.9809  0.9820  0.9774      0.9760  0.9772  0.9748
#     600x10, 10: 0.9820  0.9819  0.9799      0.9790  0.9800  0.9787
# Of all methods on 500x2 after 2 and 3 passes:
#     mini-batch, batch 125, step size 0.1, 0.2, 0.4:  0.9836 0.9846 0.9838,  0.9850 0.9864 0.9859
#                       250                            0.9797 0.9825 0.9837,  0.9827 0.9846 0.9849
#     muon, batch 128, rate 0.02, 0.05, 0.1:           0.9842 0.9816 0.9756,  0.9846 0.9792 0.9758
#                 512                                  0.9757 0.9816 0.9811,  0.9815 0.9824 0.9781
#     adam, batch 128, rate 3e-4, 1e-3, 3e-3:          0.9612 0.9745 0.9794,  0.9680 0.9785 0.9819
#                 512                                  0.9392 0.9620 0.9717,  0.9509 0.9682 0.9764
# The others on 500x2 after 2 passes; SGD's 0.4 and schedule-free AdamW's 0.012 are beyond an edge:
#     sgd, batch 128, rate 0.03, 0.1, 0.2, 0.4:             0.9637 0.9751 0.9783 0.9761
#          512                                              0.9325 0.9594 0.9697 0.9719
#     soap, batch 128, rate 1e-3, 3e-3, 6e-3:               0.9764 0.9835 0.9836
#           512                                             0.9444 0.9778 0.9821
#     shampoo, batch 128, rate 0.03, 0.1, 0.3:              0.9736 0.9797 0.9802
#              512                                          0.9429 0.9652 0.9726
#     schedule-free, batch 128, rate 1e-3 to 6e-3, 0.012:   0.9745 0.9801 0.9806 0.9803
#                    512                                    0.9639 0.9749 0.9783
# After one pass; of the settings with at least 0.976, the fastest one is taken, or else the best.
#     mini-batch, batch 125, step size 0.1, 0.2, 0.4:  0.9789 0.9827 0.9819
#                       250, and 0.8:                  0.9718 0.9778 0.9800 0.9818
#     muon, batch 128, rate 0.02, 0.05, 0.1:           0.9797 0.9797 0.9732
#           512                                        0.9510 0.9709 0.9751
#     sgd, batch 128, rate 0.03, 0.1, 0.2, 0.4:        0.9509 0.9701 0.9743 0.9732
#          512, rate 0.03, 0.1, 0.2:                   0.9129 0.9425 0.9574
#     schedule-free, batch 128, rate 1e-3 to 0.012:    0.9658 0.9747 0.9764 0.9774
#                    512                               0.9504 0.9657 0.9696
#     adam, batch 128, rate 3e-4, 1e-3, 3e-3, 6e-3:    0.9456 0.9656 0.9739 0.9738
#           512                                        0.9122 0.9465 0.9611
# Of the networks that are larger, by the rule of `race.py`; each rate is followed by its accuracy.
# 784-600x10-10 after 2 passes:
#     mini-batch, batch 125: 0.1: 0.9835, 0.2: 0.9813, 0.4: 0.9817
#     mini-batch, batch 250: 0.05: 0.9819, 0.1: 0.9836, 0.2: 0.9817, 0.4: 0.9827
#     sgd, batch 128: 0.03: 0.9738, 0.1: 0.9757, 0.2: 0.0991
#     sgd, batch 512: 0.03: 0.9535, 0.1: 0.9488, 0.2: 0.1951
#     adam, batch 128: 0.0003: 0.9744, 0.001: 0.9747, 0.003: 0.9712
#     adam, batch 512: 0.0003: 0.9652, 0.001: 0.9715, 0.003: 0.9587
#     schedule-free, batch 128: 0.00033: 0.9747, 0.001: 0.9784, 0.003: 0.9774, 0.006: 0.9754
#     schedule-free, batch 512: 0.001: 0.9751, 0.003: 0.9716, 0.006: 0.9672
#     muon, batch 512: 0.0032: 0.9695, 0.008: 0.9768, 0.02: 0.9765, 0.05: 0.9720, 0.1: 0.9506
#     muon, batch 1024: 0.02: 0.9757, 0.05: 0.9749, 0.1: 0.9650
# 3072-1000x3-10 after 2 passes:
#     mini-batch, batch 125: 0.05: 0.5576, 0.1: 0.5634, 0.2: 0.5570, 0.4: 0.5424
#     mini-batch, batch 250: 0.1: 0.5523, 0.2: 0.5580, 0.4: 0.5623
#     sgd, batch 128: 0.009: 0.4938, 0.03: 0.5122, 0.1: 0.4933, 0.2: 0.1007
#     sgd, batch 512: 0.03: 0.4831, 0.1: 0.4986, 0.2: 0.4909
#     adam, batch 128: 9e-05: 0.4773, 0.0003: 0.5058, 0.001: 0.4993, 0.003: 0.4386
#     adam, batch 512: 0.0003: 0.4772, 0.001: 0.4586, 0.003: 0.3915
#     schedule-free, batch 128: 0.00033: 0.5090, 0.001: 0.5240, 0.003: 0.5102, 0.006: 0.5042
#     schedule-free, batch 512: 0.001: 0.5091, 0.003: 0.4824, 0.006: 0.4550
#     muon, batch 512: 0.02: 0.5367, 0.05: 0.5295, 0.1: 0.4690
#     muon, batch 1024: 0.02: 0.5174, 0.05: 0.5377, 0.1: 0.5059
# 784-1500x3-10 after 1 pass:
#     mini-batch, batch 125: 0.05: 0.9826, 0.1: 0.9844, 0.2: 0.9842, 0.4: 0.9820
#     mini-batch, batch 250: 0.1: 0.9807, 0.2: 0.9843, 0.4: 0.9838
#     sgd, batch 128: 0.03: 0.9642, 0.1: 0.9734, 0.2: 0.9752, 0.4: 0.9747
#     sgd, batch 512: 0.03: 0.9350, 0.1: 0.9566, 0.2: 0.9558
#     adam, batch 128: 0.0003: 0.9689, 0.001: 0.9738, 0.003: 0.9734
#     adam, batch 512: 0.0003: 0.9546, 0.001: 0.9639, 0.003: 0.9650
#     schedule-free, batch 128: 0.001: 0.9761, 0.003: 0.9769, 0.006: 0.9770, 0.012: 0.9740
#     schedule-free, batch 512: 0.001: 0.9693, 0.003: 0.9726, 0.006: 0.9717
#     muon, batch 512: 0.02: 0.9716, 0.05: 0.9776, 0.1: 0.9752
#     muon, batch 1024: 0.02: 0.9537, 0.05: 0.9696, 0.1: 0.9757
TUNED: dict[tuple[str, str, int], dict[str, Any]] = {
    ("mini-batch", "784-500x2-10", 1): {"batch": 250, "step_size": 0.8, **OUTPUT_METRIC},
    ("muon", "784-500x2-10", 1): {"rate": 0.02, "batch": 128, "schedule": "linear"},
    ("adam", "784-500x2-10", 1): {"rate": 3e-3, "batch": 128},
    ("sgd", "784-500x2-10", 1): {"rate": 0.2, "batch": 128, "schedule": "one-cycle"},
    ("schedule-free", "784-500x2-10", 1): {"rate": 0.012, "batch": 128, "schedule": "constant"},
    ("mini-batch", "784-500x2-10", 2): {"batch": 125, "step_size": 0.2, **OUTPUT_METRIC},
    ("mini-batch", "784-500x2-10", 3): {"batch": 125, "step_size": 0.2, **OUTPUT_METRIC},
    ("muon", "784-500x2-10", 2): {"rate": 0.02, "batch": 128, "schedule": "linear"},
    ("muon", "784-500x2-10", 3): {"rate": 0.02, "batch": 128, "schedule": "linear"},
    ("adam", "784-500x2-10", 2): {"rate": 3e-3, "batch": 128},
    ("adam", "784-500x2-10", 3): {"rate": 3e-3, "batch": 128},
    ("sgd", "784-500x2-10", 2): {"rate": 0.2, "batch": 128, "schedule": "one-cycle"},
    ("soap", "784-500x2-10", 2): {"rate": 6e-3, "batch": 128, "schedule": "linear"},
    ("shampoo", "784-500x2-10", 2): {"rate": 0.3, "batch": 128, "schedule": "linear"},
    ("schedule-free", "784-500x2-10", 2): {"rate": 6e-3, "batch": 128, "schedule": "constant"},
    ("adam", "784-500x2-10", 5): {"rate": 3e-3, "batch": 128},
    ("adam", "784-500x2-10", 10): {"rate": 3e-3, "batch": 128},
    ("adam", "784-1500x3-10", 5): {"rate": 1e-3, "batch": 128},
    ("adam", "784-1500x3-10", 10): {"rate": 1e-3, "batch": 128},
    ("adam", "784-600x10-10", 5): {"rate": 1e-3, "batch": 128},
    ("adam", "784-600x10-10", 10): {"rate": 3e-4, "batch": 128},
    ("mini-batch", "784-1500x3-10", 1): {"batch": 250, "step_size": 0.2, **OUTPUT_METRIC},
    ("muon", "784-1500x3-10", 1): {"batch": 1024, "rate": 0.1, "schedule": "linear"},
    ("sgd", "784-1500x3-10", 1): {"batch": 128, "rate": 0.2, "schedule": "one-cycle"},
    ("adam", "784-1500x3-10", 1): {"batch": 128, "rate": 1e-3},
    ("schedule-free", "784-1500x3-10", 1): {"batch": 128, "rate": 6e-3, "schedule": "constant"},
    ("mini-batch", "784-600x10-10", 2): {"batch": 250, "step_size": 0.1, **OUTPUT_METRIC},
    ("muon", "784-600x10-10", 2): {"batch": 1024, "rate": 0.02, "schedule": "linear"},
    ("sgd", "784-600x10-10", 2): {"batch": 128, "rate": 0.1, "schedule": "one-cycle"},
    ("adam", "784-600x10-10", 2): {"batch": 128, "rate": 1e-3},
    ("schedule-free", "784-600x10-10", 2): {"batch": 128, "rate": 1e-3, "schedule": "constant"},
    ("mini-batch", "3072-1000x3-10", 2): {"batch": 250, "step_size": 0.4, **OUTPUT_METRIC},
    ("muon", "3072-1000x3-10", 2): {"batch": 1024, "rate": 0.05, "schedule": "linear"},
    ("sgd", "3072-1000x3-10", 2): {"batch": 128, "rate": 0.03, "schedule": "one-cycle"},
    ("adam", "3072-1000x3-10", 2): {"batch": 128, "rate": 3e-4},
    ("schedule-free", "3072-1000x3-10", 2): {"batch": 128, "rate": 1e-3, "schedule": "constant"},
}
# Networks and passes that were not tuned; {} is the rule of this package, in batches of 500.
DEFAULT: dict[str, dict[str, Any]] = {
    "mini-batch": {},
    "muon": {"rate": 0.02, "batch": 128, "schedule": "linear"},
    "adam": {"rate": 1e-3, "batch": 128},
    "sgd": {"rate": 0.2, "batch": 128, "schedule": "one-cycle"},
    "soap": {"rate": 6e-3, "batch": 128, "schedule": "linear"},
    "shampoo": {"rate": 0.3, "batch": 128, "schedule": "linear"},
    "schedule-free": {"rate": 6e-3, "batch": 128, "schedule": "constant"},
}
