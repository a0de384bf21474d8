"""Names of other projects that docstrings and pages refer to, and where these document them.

Sphinx would load an inventory of tens of thousands of names from each project. These few names need
no net, and a build gives the same pages everywhere.
"""

import zlib

NUMPY = "reference/generated/$.html#$"
# Project -> address, role, and name -> place of it; "$" stands for the name.
PROJECTS = {
    "python": (
        "https://docs.python.org/3/",
        {
            "class": {
                "bool": "library/functions.html#$",
                "dict": "library/stdtypes.html#$",
                "float": "library/functions.html#$",
                "int": "library/functions.html#$",
                "list": "library/stdtypes.html#$",
                "str": "library/stdtypes.html#$",
                "tuple": "library/stdtypes.html#$",
                "pathlib.Path": "library/pathlib.html#$",
            },
        },
    ),
    "numpy": (
        "https://numpy.org/doc/stable/",
        {
            "class": {"numpy.ndarray": NUMPY, "numpy.memmap": NUMPY},
            "function": {
                "numpy.asarray": NUMPY,
                "numpy.ascontiguousarray": NUMPY,
                "numpy.empty": NUMPY,
                "numpy.savez": NUMPY,
                "numpy.seterr": NUMPY,
            },
            "attribute": {"numpy.dtype.kind": NUMPY},
        },
    ),
    "scipy": ("https://docs.scipy.org/doc/scipy/", {}),
    "sklearn": ("https://scikit-learn.org/stable/", {}),
}


def write_inventories(folder):
    """Write an inventory for each project; return the value of `intersphinx_mapping`."""
    folder.mkdir(parents=True, exist_ok=True)
    mapping = {}
    for project, (address, roles) in PROJECTS.items():
        lines = [
            f"{name} py:{role} 1 {place} -\n"
            for role, names in roles.items()
            for name, place in names.items()
        ]
        head = f"# Sphinx inventory version 2\n# Project: {project}\n# Version: \n"
        head += "# The remainder of this file is compressed using zlib.\n"
        file = folder / f"{project}.inv"
        file.write_bytes(head.encode() + zlib.compress("".join(lines).encode()))
        mapping[project] = (address, str(file))
    return mapping
