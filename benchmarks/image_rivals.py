"""Adam, Muon and SOAP in PyTorch on the networks of `images.py`, tuned and then measured.

    python benchmarks/image_rivals.py --data FOLDER --network cifar --out runs.csv --method muon
        --passes 3 [--rates R R R] [--decay D] [--seeds 5] [--device cuda] [--trials-only]

Each rate is tried on a validation split (the last 5,000 training samples); the best one then trains
on all samples, with every seed, and the test set measures it. The columns of the CSV are those of
`images.py`. A rate follows a cosine to 0. Beside Muon and SOAP, Adam moves biases and the last
layer, with a fixed share of the rate; `--decay` is decoupled from the gradient. On a GPU every step
is one CUDA graph.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import images
from images import NETWORKS, add, done, samples, settings

RATES = {
    "adam": (5e-4, 1e-3, 2e-3, 3e-3, 5e-3, 8e-3),
    "muon": (0.01, 0.02, 0.03, 0.05, 0.08, 0.12),
    "soap": (1e-3, 2e-3, 3e-3, 5e-3, 8e-3, 1.2e-2),
}


def main() -> None:
    """Tune, then measure."""
    parser = images.arguments(__doc__)
    parser.add_argument("--method", choices=RATES, required=True)
    parser.add_argument("--rates", type=float, nargs="+", help="default: six of each method")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--trials-only", action="store_true")
    options = parser.parse_args()
    try:
        import torch
        from image_training import Recipe, Training
    except ModuleNotFoundError as error:
        parser.error(f"{error}: the rivals need PyTorch, from pip install torch")
    if options.threads:
        torch.set_num_threads(options.threads)
    layers, image, _, _ = NETWORKS[options.network]

    def lines(data: dict[str, Any], rate: float, seed: int) -> Iterator[dict[str, Any]]:
        recipe = Recipe(
            method=options.method,
            rate=rate,
            batch=options.batch,
            passes=options.passes,
            decay=options.decay,
            device=options.device,
        )
        training = Training(data["X"], data["y"], layers, image, recipe, seed)
        return training.lines(data["X_test"], data["y_test"])

    results: dict[float, float] = {}
    data, options.validation = samples(options.data, options.network, True), True
    for rate in options.rates or RATES[options.method]:
        options.eta = rate
        run, trial = settings(options, options.method, 0), list(lines(data, rate, 0))
        results[rate] = trial[-1]["accuracy"]
        if run not in done(options.out):
            add(options.out, run, iter(trial))
    if options.trials_only:
        return
    best = max(results, key=lambda rate: results[rate])
    options.eta, options.validation = best, False
    data = samples(options.data, options.network, False)
    for seed in range(options.first_seed, options.first_seed + options.seeds):
        run = settings(options, options.method, seed)
        if run not in done(options.out):
            add(options.out, run, lines(data, best, seed))


if __name__ == "__main__":
    main()
