"""Examples and headings of the help, for each command, and names that a shell completes."""

from __future__ import annotations

from fastbcd.kernels import ACTIVATIONS, LOSSES, PENALTIES

# Command -> lines at the end of its help.
EXAMPLES: dict[str, tuple[str, ...]] = {
    "fastbcd": (
        "fastbcd train                       # scikit-learn's digits, a minute",
        "fastbcd train table.csv --target COLUMN",
        "fastbcd predict runs/table-1 new.csv --out predictions.csv",
        "fastbcd plot runs/digits-1",
        "fastbcd train --help                # all options of a command",
    ),
    "train": (
        "fastbcd train                                        # scikit-learn's digits",
        "fastbcd train table.csv --target COLUMN              # labels in a column",
        "fastbcd train FOLDER --hidden 500,500 --batch-size auto",
        "fastbcd train --certify 5                            # did the theorems hold?",
        "fastbcd train --epochs 200 --checkpoint-every 10 --out runs/long",
        "fastbcd train --resume runs/long                     # goes on with the same bits",
        "mpiexec -n 4 fastbcd train FOLDER                    # samples on four processes",
    ),
    "predict": (
        "fastbcd predict runs/digits-1                        # accuracy on its own test set",
        "fastbcd predict runs/table-1 new.csv --out predictions.csv",
        "fastbcd predict runs/table-1 new.csv --proba         # a probability for each class",
    ),
    "export": (
        "fastbcd export runs/digits-1 --to onnx",
        "fastbcd export runs/digits-1 --to torch --out network.pt",
    ),
    "plot": (
        "fastbcd plot runs/digits-1",
        "fastbcd plot runs/digits-1 runs/digits-2 --out compared.svg",
        "fastbcd plot runs/digits-1 runs/digits-2 --out compared.html  # read values in it",
        "fastbcd plot runs/digits-1 --confusion",
    ),
    "info": ("fastbcd info                                         # for a bug report",),
}
# Command -> heading -> its options.
GROUPS: dict[str, dict[str, str]] = {
    "train": {
        "data": "target test-fraction preprocess image-shape",
        "tables": "",  # it has its options
        "network and objective": "hidden layers activation loss gamma rho weight-penalty "
        "state-penalty class-weight reduction",
        "algorithm": "algorithm batch-size epochs no-trials seed",
        # These have their options.
        "mini-batches": "",
        "full batches (--batch-size full)": "",
        "early stopping": "",
        "where it runs": "device precision dtype threads tile-rows memory memory-folder",
        "the run and its folder": "out resume checkpoint-every evaluate-every certify quiet",
    },
}
# Option -> names that it takes, with or without numbers behind them.
NAMES: dict[str, list[str]] = {
    "activation": list(ACTIVATIONS),
    "loss": list(LOSSES),
    "weight_penalty": list(PENALTIES),
    "state_penalty": list(PENALTIES),
}
