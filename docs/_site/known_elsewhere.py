"""Names of other projects that docstrings and pages refer to, and where these document them.

Sphinx would load an inventory of tens of thousands of names from each project. These few names need
no net, and a build gives the same pages everywhere.
"""

import zlib

NUMPY = "reference/generated/{0}.html#{0}"
SKLEARN = "modules/generated/{0}.html#{0}"
# Project -> address, and role -> name -> place in which {0} stands for the name.
PROJECTS = {
    "python": (
        "https://docs.python.org/3/",
        {"class": {"pathlib.Path": "library/pathlib.html#{0}"}},
    ),
    "numpy": (
        "https://numpy.org/doc/stable/",
        {
            "class": {
                "numpy.ndarray": NUMPY,
                "numpy.memmap": NUMPY,
                "numpy.random.RandomState": "reference/random/legacy.html#{0}",
            },
            "function": dict.fromkeys(
                (
                    *("numpy.asarray", "numpy.ascontiguousarray", "numpy.empty", "numpy.savez"),
                    "numpy.seterr",
                ),
                NUMPY,
            ),
            "attribute": {"numpy.dtype.kind": NUMPY},
        },
    ),
    "scipy": (
        "https://docs.scipy.org/doc/scipy/",
        {"module": {"scipy.linalg.cython_blas": "reference/linalg.cython_blas.html#module-{0}"}},
    ),
    "sklearn": (
        "https://scikit-learn.org/stable/",
        {
            "class": dict.fromkeys(
                (
                    *("sklearn.base.BaseEstimator", "sklearn.base.ClassifierMixin"),
                    *("sklearn.base.RegressorMixin", "sklearn.neural_network.MLPClassifier"),
                    "sklearn.neural_network.MLPRegressor",
                ),
                SKLEARN,
            ),
        },
    ),
}


def write_inventories(folder):
    """Write an inventory for each project; return the value of `intersphinx_mapping`."""
    folder.mkdir(parents=True, exist_ok=True)
    mapping = {}
    for project, (address, roles) in PROJECTS.items():
        lines = [
            f"{name} py:{role} 1 {place.format(name)} -\n"
            for role, names in roles.items()
            for name, place in names.items()
        ]
        head = f"# Sphinx inventory version 2\n# Project: {project}\n# Version: \n"
        head += "# The remainder of this file is compressed using zlib.\n"
        file = folder / f"{project}.inv"
        file.write_bytes(head.encode() + zlib.compress("".join(lines).encode()))
        mapping[project] = (address, str(file))
    return mapping
