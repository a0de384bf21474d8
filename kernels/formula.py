"""Formulas that compiled kernels take as an argument.

A `Formula` bundles the scalar functions of one mathematical object (such as the
value and the proximal operator of an activation) with its parameters. A kernel
is written once, for any formula::

    @kernel
    def activate(out, activation, U):
        for i in range(...):
            out[i, j] = activation.value(U[i, j])

and Numba compiles it once per kind of formula, at full speed: the scalar is
inlined and parameters are ordinary run-time numbers, so another slope compiles
nothing again.

The Numba type of a formula carries a digest of its functions. The cache on
disk depends on the kernels' own files only. The digest makes an edited formula
another type, so that machine code of its old functions is never used.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Callable
from types import CodeType, ModuleType
from typing import Any, ClassVar

import numpy as np
from numba import types
from numba.core import cgutils
from numba.core.errors import NumbaTypeError
from numba.core.imputils import lower_constant
from numba.extending import (
    NativeValue,
    make_attribute_wrapper,
    models,
    overload_attribute,
    overload_method,
    register_model,
    typeof_impl,
    unbox,
)

from fastbcd.kernels.streams import warn

# Method name -> number of arguments (or the two numbers possible), for every kind of formula.
METHODS: dict[str, int | tuple[int, int]] = {
    "value": 1,  # activation: act(u); penalty: r(w)
    "derivative": 1,  # activation: act'(u)
    "curvature": 1,  # activation: max over z of the second derivative of 1/2 (v - act(z))^2
    # activation: argmin_u (a - act(u))^2 + q (u - c)^2
    "prox": (2, 3),  # penalty: argmin_w r(w) + 1/(2 step) (w - c)^2
    "quick_prox": 3,  # activation: the same without branches, or NaN where prox must decide
    "subdifferential": 1,  # penalty: the ends of the interval of slopes of r at w
    "shrink": 2,  # penalty: the name of its prox in the release before
    "row_value": 2,  # loss of one sample
    "row_gradient": 3,  # loss: gradient at one sample, written to its first argument
    "row_subdifferential": 4,  # loss: ends of the intervals of slopes, written to the first two
    "row_prox": 5,  # loss: proximal operator of one sample, written to its first argument
    "row_prox_penalised": 6,  # loss: the same for the loss plus a penalty, the last argument
}

# Method -> the method that is called where a formula has no such function.
SUBSTITUTES = {"quick_prox": "prox", "shrink": "prox"}

PROCESS = os.urandom(16)


def number(value: Any, name: str) -> float:
    """`value` as a float; a bool, a text or an array raises a `ValueError` naming the formula."""
    if isinstance(value, np.ndarray) and value.ndim == 0:
        value = value.item()
    try:
        if isinstance(value, bool | np.bool_ | str | bytes | np.ndarray):
            raise TypeError
        return float(value)
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"{name}: its parameters must be numbers, got {value!r}") from None


class FormulaType(types.Type):
    """Numba type of a `Formula`: its name, the digest of its functions, its parameter count."""

    def __init__(self, name: str, digest: str, n_parameters: int) -> None:
        self.n_parameters = n_parameters
        super().__init__(name=f"Formula({name}, {digest}, {n_parameters})")

    @property
    def parameters_type(self) -> types.Type:
        """A tuple of float64; each scalar converts to the type it computes in."""
        return types.UniTuple(types.float64, self.n_parameters)


class Formula:
    """Scalar functions of one mathematical object, usable in Python and in kernels.

    Parameters
    ----------
    name : str
        The name that users type, such as ``"relu"``.
    parameters : tuple of float
        Each function gets them as its last argument `p`.
    **functions
        Functions compiled with `fastbcd.kernels.jit.scalar`, under the names
        in `METHODS`; each takes the arguments listed there and then `p`.

    Raises
    ------
    TypeError
        A function under another name, or one that is not compiled.
    """

    _registry: ClassVar[dict[str, Formula]] = {}

    def __init__(self, name: str, parameters: tuple[float, ...] = (), **functions: Any) -> None:
        unknown = set(functions) - set(METHODS)
        if unknown:
            raise TypeError(
                f"formula {name!r}: unknown function {sorted(unknown)}; known: {sorted(METHODS)}"
            )
        self.name = name
        self.arguments = tuple(number(p, name) for p in parameters)
        # Numba cannot freeze an empty tuple as a constant: one unused slot.
        self.parameters = self.arguments or (0.0,)
        self.functions = functions
        self.numba_type = FormulaType(name, _digest(functions), len(self.parameters))
        self._registry[self.numba_type.name] = self

    @property
    def has_quick_prox(self) -> bool:
        """True where the formula has a `quick_prox`; a constant in compiled code."""
        return "quick_prox" in self.functions

    def __getattr__(self, method: str) -> Callable[..., Any]:
        functions = self.__dict__.get("functions", {})
        if method not in functions:
            raise AttributeError(f"formula {self.__dict__.get('name')!r} has no {method!r}")
        return lambda *arguments: functions[method](*arguments, self.parameters)

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._registry[self.numba_type.name] = self

    def __repr__(self) -> str:
        return f"{self.name}:{','.join(map(repr, self.arguments))}".rstrip(":")

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Formula):
            return NotImplemented
        return self.numba_type == other.numba_type and self.parameters == other.parameters

    def __hash__(self) -> int:
        return hash((self.numba_type, self.parameters))


def _canonical(value: Any) -> str:
    """`repr` with sets in sorted order, which otherwise differs from process to process."""
    if isinstance(value, (set, frozenset)):
        return "{" + ", ".join(sorted(map(_canonical, value))) + "}"
    if isinstance(value, dict):
        return _canonical({(key, _canonical(item)) for key, item in value.items()})
    return repr(value)


def _digest(functions: dict[str, Any]) -> str:
    """Hash of all functions, of the compiled functions they call and the constants they use."""
    sha, seen = hashlib.sha256(), set()

    def add_code(code: CodeType, names: dict[str, Any]) -> None:
        sha.update(code.co_code)
        for constant in code.co_consts:
            if isinstance(constant, CodeType):
                add_code(constant, names)
            else:
                sha.update(_canonical(constant).encode())
        used = code.co_names + code.co_freevars
        for name in used:
            sha.update(name.encode())
            value = names.get(name)
            if isinstance(value, ModuleType):
                # `module.helper(u)`: the names hold the attributes of the module, too.
                for attribute in used:
                    add(vars(value).get(attribute))
            else:
                add(value)

    def add(value: Any) -> None:
        function = getattr(value, "py_func", None)
        if function is None:
            if isinstance(value, np.ndarray):
                sha.update(value.tobytes())
            elif isinstance(value, (int, float, complex, str, bytes, tuple, np.generic)):
                sha.update(repr(value).encode())
        elif function not in seen:
            seen.add(function)
            sha.update(_canonical(value.targetoptions).encode())
            # Cached machine code imports the module by name. Where no module has that name, the
            # code is valid in this process only.
            known = function.__module__ in sys.modules
            sha.update(function.__module__.encode() if known else PROCESS)
            sha.update(repr(function.__defaults__).encode())
            cells = [cell.cell_contents for cell in function.__closure__ or ()]
            free = dict(zip(function.__code__.co_freevars, cells, strict=True))
            add_code(function.__code__, {**function.__globals__, **free})

    for name in sorted(functions):
        sha.update(name.encode())
        if not hasattr(functions[name], "py_func"):
            raise TypeError(f"{name}: compile this function with fastbcd.kernels.jit.scalar")
        add(functions[name])
    return sha.hexdigest()[:16]


@typeof_impl.register(Formula)
def _typeof(formula: Formula, context: Any) -> FormulaType:
    return formula.numba_type


@register_model(FormulaType)
class _FormulaModel(models.StructModel):
    def __init__(self, dmm: Any, fe_type: FormulaType) -> None:
        super().__init__(dmm, fe_type, [("parameters", fe_type.parameters_type)])


make_attribute_wrapper(FormulaType, "parameters", "parameters")


@unbox(FormulaType)
def _unbox(typ: FormulaType, formula: Any, c: Any) -> NativeValue:
    held = c.pyapi.object_getattr_string(formula, "parameters")
    parameters = c.unbox(typ.parameters_type, held)
    c.pyapi.decref(held)
    struct = cgutils.create_struct_proxy(typ)(c.context, c.builder)
    struct.parameters = parameters.value
    return NativeValue(struct._getvalue(), is_error=parameters.is_error)


@lower_constant(FormulaType)
def _constant(context: Any, builder: Any, typ: FormulaType, formula: Formula) -> Any:
    struct = cgutils.create_struct_proxy(typ)(context, builder)
    struct.parameters = context.get_constant_generic(
        builder, typ.parameters_type, formula.parameters
    )
    return struct._getvalue()


def _overload(method: str, n_arguments: int | tuple[int, int]) -> None:
    """Let compiled code call ``formula.method(...)``: the scalar of that formula's type."""

    def function_of(formula: FormulaType, *arguments: Any) -> Any:
        functions = Formula._registry[formula.name].functions
        function = functions.get(method) or functions.get(SUBSTITUTES.get(method, ""))
        if method == "shrink":
            warn("the method shrink of a penalty is now called prox", DeprecationWarning)
        name = formula.name.split("(")[1].split(",")[0]
        if function is None:
            raise NumbaTypeError(f"{name!r} has no {method!r}; it has {', '.join(functions)}")
        for argument in arguments:
            if isinstance(argument, types.Integer):
                raise NumbaTypeError(f"{name}.{method} needs float32 or float64, got {argument}")
        return function

    # Numba compares signatures, so there is one pair of functions per argument count.
    def one(formula, a):
        f = function_of(formula, a)
        return lambda formula, a: f(a, formula.parameters)

    def two(formula, a, b):
        f = function_of(formula, a, b)
        return lambda formula, a, b: f(a, b, formula.parameters)

    def two_or_three(formula, a, b, c=None):
        if c is None or isinstance(c, types.Omitted):
            f = function_of(formula, a, b)
            return lambda formula, a, b, c=None: f(a, b, formula.parameters)
        f = function_of(formula, a, b, c)
        return lambda formula, a, b, c=None: f(a, b, c, formula.parameters)

    def three(formula, a, b, c):
        f = function_of(formula, a, b, c)
        return lambda formula, a, b, c: f(a, b, c, formula.parameters)

    def four(formula, a, b, c, d):
        f = function_of(formula, a, b, c, d)
        return lambda formula, a, b, c, d: f(a, b, c, d, formula.parameters)

    def five(formula, a, b, c, d, e):
        f = function_of(formula, a, b, c, d, e)
        return lambda formula, a, b, c, d, e: f(a, b, c, d, e, formula.parameters)

    def six(formula, a, b, c, d, e, g):
        f = function_of(formula, a, b, c, d, e, g)
        return lambda formula, a, b, c, d, e, g: f(a, b, c, d, e, g, formula.parameters)

    overloads = {1: one, 2: two, (2, 3): two_or_three, 3: three, 4: four, 5: five, 6: six}
    # Always inlined: a loop that calls a long formula would not vectorise otherwise.
    options = {"forceinline": True}
    overload_method(FormulaType, method, jit_options=options)(overloads[n_arguments])


for _method, _n_arguments in METHODS.items():
    _overload(_method, _n_arguments)


@overload_attribute(FormulaType, "has_quick_prox", jit_options={"forceinline": True})
def _has_quick_prox(formula):
    """A constant at compile time, so that the compiler removes the branch not taken."""
    if "quick_prox" in Formula._registry[formula.name].functions:
        return lambda formula: True
    return lambda formula: False
