"""The gallery: the order of its scripts, and what holds while one of them runs."""

import gc
import warnings
from contextlib import ExitStack
from pathlib import Path

# From what the method promises to what can be made of it.
ORDER = (
    "descent",
    "gamma_alpha_ridge",
    "acceleration",
    "depth",
    "optimisers",
    "sparse",
    "nonnegative",
    "custom_loss",
    "own_solver",
    "table",
    "convolutions",
    "onnx_export",
)
_afterwards = ExitStack()


class Order:
    """The key by which scripts are sorted; a script that `ORDER` lacks is an error."""

    def __init__(self, folder):
        self.folder = folder

    def __call__(self, name):
        """The place of the file `name`."""
        return ORDER.index(Path(name).stem)


def around(settings, script, when):
    """Make each warning of a script an error, and collect no garbage until it has ended.

    Collections go through all objects of the site: with them kernels compile a quarter slower.
    """
    _afterwards.close()
    if when == "before" and script is not None:
        _afterwards.enter_context(warnings.catch_warnings())
        warnings.simplefilter("error")
        # `show` has no window here.
        warnings.filterwarnings("ignore", "FigureCanvasAgg is non-interactive", UserWarning)
        gc.disable()
        _afterwards.callback(gc.enable)
