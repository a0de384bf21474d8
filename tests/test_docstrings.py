"""Docstrings say what signatures say.

A section "Parameters" has all names of the signature, in their order. Public classes and functions
have this section (records may have "Attributes" instead). Methods and kernels explain their
parameters by a formula. For them, and for functions with one parameter, it is enough that the text
names every parameter or refers to another docstring: "as for `init`". The docstring of a public
function names the errors that the function raises itself.
"""

import ast
import dataclasses
import importlib
import inspect
import pkgutil
import re
import textwrap

import pytest
from numpydoc.docscrape import NumpyDocString

import fastbcd
from fastbcd import callbacks, data, export, kernels, plots
from fastbcd import torch as bridge
from fastbcd.solvers import mini_batch

# What users import from; names in `__all__` are public.
PUBLIC = (fastbcd, callbacks, data, export, mini_batch, plots, kernels, bridge)
# Public, though no `__all__` has them.
ALSO = (
    "fastbcd.training.certificate.Certificate",
    "fastbcd.checkpoints.checkpoint.Checkpoint",
    "fastbcd.checkpoints.checkpoint.read",
    "fastbcd.checkpoints.checkpoint.write",
    "fastbcd.training.loop.run",
    "fastbcd.training.descent_log.DescentLog",
    "fastbcd.models.probabilities.probabilities",
)


# Documented once, in the constructors of solvers.
ONCE = {"n_threads"}


def modules():
    for found in pkgutil.walk_packages(fastbcd.__path__, "fastbcd."):
        if found.name == "fastbcd.mini_batch":
            continue  # an old name, which warns
        try:
            yield importlib.import_module(found.name)
        except ModuleNotFoundError as error:
            # Of extras, which take gigabytes, or hundreds of megabytes.
            if error.name not in ("torch", "numba.cuda"):
                raise


def plain(thing):
    """The Python function behind a compiled one, a property or a class method."""
    thing = getattr(thing, "py_func", thing)
    return getattr(thing, "__func__", getattr(thing, "fget", thing))


def methods(owner):
    # Those of a base class of ours are documented once, there.
    bases = [base for base in owner.__mro__[1:] if base.__module__.startswith("fastbcd")]
    inherited = {name for base in bases for name in vars(base)}
    for name, member in vars(owner).items():
        if name not in inherited and not name.startswith("_") and inspect.isfunction(plain(member)):
            yield name, plain(member)


def documented(module):
    """Qualified name -> function or class, of what this module defines; methods, too."""
    for name, thing in vars(module).items():
        thing = plain(thing)
        if getattr(thing, "__module__", None) != module.__name__ or name.startswith("_"):
            continue
        if inspect.isfunction(thing) or inspect.isclass(thing):
            yield f"{module.__name__}.{name}", thing
        if inspect.isclass(thing):
            for method, function in methods(thing):
                yield f"{module.__name__}.{name}.{method}", function


EVERYTHING = {name: thing for module in modules() for name, thing in documented(module)}
NAME_OF = {thing: name for name, thing in EVERYTHING.items()}


def public():
    """Names in `EVERYTHING`: what is public, with the methods it has, inherited ones included."""
    names = set(ALSO)
    for module in PUBLIC:
        exported = (plain(getattr(module, name)) for name in module.__all__)
        # All but constants.
        names |= {NAME_OF[thing] for thing in exported if callable(thing)}
    for name in list(names):
        if inspect.isclass(EVERYTHING[name]):
            owners = {NAME_OF.get(owner) for owner in EVERYTHING[name].__mro__} - {None}
            inherited = [n for n in EVERYTHING if n.rpartition(".")[0] in owners]
            names |= set(inherited)
    return sorted(names)


def parameters(thing):
    """Names in the signature, of a class those of its constructor."""
    if inspect.isclass(thing) and thing.__init__ is object.__init__:
        return []
    if inspect.isclass(thing) and issubclass(thing, BaseException):
        return []
    names = list(inspect.signature(thing).parameters)
    return names[1:] if names[:1] in (["self"], ["cls"]) else names


def sections(thing):
    """Section -> the names it lists; "a, b" is two of them."""
    parsed = NumpyDocString(inspect.cleandoc(thing.__doc__ or ""))
    return {
        section: [
            name.lstrip("*") for entry in parsed[section] for name in re.split(r",\s*", entry.name)
        ]
        for section in ("Parameters", "Attributes", "Raises")
    }


def missing_words(thing, names):
    """Which of `names` the docstring does not name."""
    words = set(re.findall(r"\w+", thing.__doc__ or ""))
    return [name for name in names if name not in words]


@pytest.mark.parametrize("name", EVERYTHING)
def test_a_section_of_parameters_matches_the_signature(name):
    thing = EVERYTHING[name]
    assert thing.__doc__, f"{name} has no docstring"
    assert sections(thing)["Parameters"] in ([], parameters(thing)), name


@pytest.mark.parametrize("name", public())
def test_what_is_public_documents_every_parameter_and_its_errors(name):
    thing = EVERYTHING[name]
    names, found = parameters(thing), sections(thing)
    method = name.rpartition(".")[0] in EVERYTHING
    explained = set(names) - set(missing_words(thing, names)) | elsewhere(name)
    brief = method or len(names) <= 1 or name.startswith("fastbcd.kernels.") or elsewhere(name)
    record = dataclasses.is_dataclass(thing) and not found["Parameters"]
    if record and found["Attributes"]:
        hidden = {field.name for field in dataclasses.fields(thing) if not field.repr}
        assert set(names) - hidden <= set(found["Attributes"]) <= set(names), name
    elif brief and not inspect.isclass(thing):
        assert set(names) <= explained | ONCE, name
    elif names:
        assert found["Parameters"], f"{name}: no section Parameters"
    assert not missing_words(thing, raised(thing)), f"{name}: raises what it does not name"


def elsewhere(name):
    """Parameters that a docstring leaves to another one: "as for `init`", "as in `other`"."""
    text, owner = EVERYTHING[name].__doc__, name.rpartition(".")[0]
    others = re.findall(r"as (?:for|in) `(\w+)`", text)
    named = [EVERYTHING[f"{owner}.{other}"] for other in others if f"{owner}.{other}" in EVERYTHING]
    named += [thing for thing in EVERYTHING.values() if thing.__name__ in others and not named]
    return {parameter for thing in named for parameter in parameters(thing)}


def raised(thing):
    """Names of the exceptions that a function, or a class's constructor, raises itself."""
    if inspect.isclass(thing):
        thing = vars(thing).get("__init__")
    if not inspect.isfunction(thing) or "<string>" in thing.__code__.co_filename:
        return set()  # a dataclass's
    tree = ast.parse(textwrap.dedent(inspect.getsource(thing)))
    return {
        node.exc.func.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Raise)
        and isinstance(node.exc, ast.Call)
        and isinstance(node.exc.func, ast.Name)
        and node.exc.func.id not in ("NotImplementedError", "AssertionError")
    }


def test_a_first_line_names_its_object():
    """It begins neither with "What" nor with a bare "Of"."""
    things = [*modules(), *EVERYTHING.values()]
    assert not [t for t in things if re.match(r"\s*(What|Of)\b", t.__doc__ or "")]


def test_the_rules_find_what_is_wrong():
    def one(a, b):
        """Formula.

        Parameters
        ----------
        b, a : float
        """

    def two(a):
        """Says nothing of it."""
        raise ValueError(a)

    assert sections(one)["Parameters"] == ["b", "a"] != parameters(one)
    assert missing_words(two, parameters(two)) == ["a"]
    assert raised(two) == {"ValueError"}
    assert len(public()) > 150
