"""A translator of PTX, the GPU's virtual machine code, to C for the processor, bit for bit.

``translate(ptx)`` returns a C file for `ptx_machine.h`. Its function runs one thread from its
start, or from a barrier, to the next barrier or its end. Registers are variables of C; a record of
the thread keeps those that live across a barrier. Semantics are those of the PTX ISA: comparisons
are ordered or unordered, minimum and maximum prefer a number to a NaN, multiplications are fused
where the code says so, and conversions saturate. An unknown instruction is an error that names it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

APPROXIMATIONS = {
    "div.approx.f32",
    "lg2.approx.f32",
    "rcp.approx.ftz.f32",
    "rcp.approx.ftz.f64",
}
"""Instructions whose result the ISA gives up to an error only; ptx_machine.h adds an error."""

C_TYPES = {
    **{f"{kind}{bits}": f"uint{bits}_t" for kind in "ub" for bits in (8, 16, 32, 64)},
    **{f"s{bits}": f"int{bits}_t" for bits in (8, 16, 32, 64)},
    **{"f32": "float", "f64": "double", "pred": "bool"},
}
COMPARISONS = {"eq": "==", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">="}
ARITHMETIC = {"add": "+", "sub": "-", "mul": "*", "and": "&", "or": "|", "xor": "^"}
SPECIAL = {
    f"%{name}.{axis}": f"at->{name}_{axis}"
    for name in ("tid", "ntid", "ctaid", "nctaid")
    for axis in "xyz"
}


class UnknownInstructionError(Exception):
    """The PTX has an instruction that the translator does not know."""


@dataclass
class Instruction:
    text: str
    guard: str | None
    opcode: str
    operands: list[str]

    @property
    def parts(self) -> list[str]:
        return self.opcode.split(".")


@dataclass
class Kernel:
    """A parsed entry point."""

    name: str
    parameters: list[tuple[str, str]]
    registers: dict[str, str]
    shared: dict[str, int]
    local: dict[str, int]
    code: list[Instruction | str]
    """Labels are strings."""


# -- parsing --------------------------------------------------------------------------------------


def parse(ptx: str) -> Kernel:
    """Return the only entry point of a PTX text."""
    ptx = re.sub(r"//[^\n]*", "", ptx.replace("\0", ""))
    heads = re.findall(r"\.entry\s+(\S+)\s*\(([^)]*)\)", ptx)
    if len(heads) != 1 or ".func" in ptx:
        raise UnknownInstructionError(f"{len(heads)} entry points, {ptx.count('.func')} functions")
    name, head = heads[0]
    parameters = [
        (n, t) for t, n in re.findall(r"\.param\s+(?:\.align\s+\d+\s+)?\.(\w+)\s+(\w+)", head)
    ]
    # Each line of the body gets one statement, brace or label.
    body = ptx[ptx.index(")", ptx.index(".entry")) + 1 :].strip()
    kernel = Kernel(name, parameters, {}, {}, {}, [])
    for line in _statements(body[body.index("{") + 1 : body.rindex("}")]):
        _parse_statement(kernel, line)
    return kernel


def _statements(body: str) -> Iterator[str]:
    for line in body.splitlines():
        line = line.strip()
        if line in ("", "{", "}"):
            continue
        if re.fullmatch(r"[$\w]+:", line):
            yield line
            continue
        if not line.endswith(";") or line.count(";") != 1:
            raise UnknownInstructionError(line)
        yield line[:-1].strip()


def _parse_statement(kernel: Kernel, line: str) -> None:
    if line.endswith(":"):
        kernel.code.append(line[:-1])
    elif found := re.fullmatch(r"\.reg \.(\w+)\s+(%\w+)(?:<(\d+)>)?", line):
        kind, name, count = found.groups()
        names = [f"{name}{i}" for i in range(int(count))] if count else [name]
        kernel.registers.update(dict.fromkeys(names, kind))
    elif found := re.fullmatch(r"\.(shared|local) \.align (\d+) \.b8\s+(\w+)\[(\d+)\]", line):
        space, align, name, size = found.groups()
        if int(align) > 16:
            raise UnknownInstructionError(line)
        getattr(kernel, space)[name] = int(size)
    elif line.startswith("."):
        if not line.startswith(".pragma"):
            raise UnknownInstructionError(line)
    else:
        found = re.fullmatch(r"(?:@(!?%\w+)\s+)?([a-z][\w.:]*)\s*(.*)", line)
        if found is None:
            raise UnknownInstructionError(line)
        operands = re.findall(r"\{[^}]*\}|\[[^\]]*\]|[^,\s]+", found[3])
        kernel.code.append(Instruction(line, found[1], found[2], operands))


# -- registers that live across barriers ----------------------------------------------------------


def _registers(operand: str, kernel: Kernel) -> list[str]:
    return [r for r in re.findall(r"%\w+", operand) if r in kernel.registers]


def _uses_and_definitions(i: Instruction, kernel: Kernel) -> tuple[set[str], set[str]]:
    writes = i.parts[0] not in ("st", "bra", "bar", "ret")
    defined = set(_registers(i.operands[0], kernel)) if writes else set()
    used = {r for o in i.operands[1 if writes else 0 :] for r in _registers(o, kernel)}
    if i.guard:
        used |= set(_registers(i.guard, kernel))
        used |= defined  # because it may keep its former value
    return used, defined


def live_at_barriers(kernel: Kernel) -> dict[int, set[str]]:
    """Return, by the position of each barrier, the registers that are read before a write."""
    code = kernel.code
    labels = {x: n for n, x in enumerate(code) if isinstance(x, str)}
    after: list[list[int]] = []
    for n, i in enumerate(code):
        follows = [n + 1] if n + 1 < len(code) else []
        if isinstance(i, Instruction) and i.parts[0] == "bra":
            target = labels[i.operands[0]]
            follows = [target, *follows] if i.guard else [target]
        elif isinstance(i, Instruction) and i.opcode == "ret" and not i.guard:
            follows = []
        after.append(follows)
    facts = [
        _uses_and_definitions(i, kernel) if isinstance(i, Instruction) else (set(), set())
        for i in code
    ]
    live: list[set[str]] = [set() for _ in code]
    changed = True
    while changed:
        changed = False
        for n in reversed(range(len(code))):
            out = set().union(*(live[k] for k in after[n]))
            now = facts[n][0] | (out - facts[n][1])
            if now != live[n]:
                live[n], changed = now, True
    return {
        n: set().union(*(live[k] for k in after[n]))
        for n, i in enumerate(code)
        if isinstance(i, Instruction) and i.parts[0] == "bar"
    }


# -- operands -------------------------------------------------------------------------------------


class _Writer:
    """Writes C for the instructions of one kernel."""

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self.names = {r: "r_" + r[1:] for r in kernel.registers}
        self.offsets: dict[str, int] = {}
        for space in (kernel.shared, kernel.local):
            end = 0
            for name, size in space.items():
                self.offsets[name] = end
                end += -(-size // 16) * 16
        self.parameters = {name: n for n, (name, _) in enumerate(kernel.parameters)}

    def read(self, operand: str, kind: str) -> str:
        """Return an operand as a value of a PTX type."""
        c = C_TYPES[kind]
        if operand in self.names:
            name, holds = self.names[operand], self.kernel.registers[operand]
            if holds == kind:
                return name
            if holds == "pred" or kind == "pred":
                raise UnknownInstructionError(f"{operand} read as {kind}")
            if holds[0] == "f" or kind[0] == "f":
                if holds[1:] != kind[1:] or "s" in (holds[0], kind[0]):
                    raise UnknownInstructionError(f"{operand} read as {kind}")
                return f"{'float_of' if kind[0] == 'f' else 'bits_of'}{kind[1:]}({name})"
            return f"(({c}){name})"
        if operand in SPECIAL:
            return f"(({c}){SPECIAL[operand]})"
        if operand in self.offsets:
            return f"(({c}){self.offsets[operand]})"
        if found := re.fullmatch(r"0([fd])([0-9A-F]{8}|[0-9A-F]{16})", operand):
            bits = {"f": 32, "d": 64}[found[1]]
            if kind != f"f{bits}" or len(found[2]) * 4 != bits:
                raise UnknownInstructionError(f"{operand} read as {kind}")
            return f"float_of{bits}(0x{found[2]}u{'ll' if bits == 64 else ''})"
        if re.fullmatch(r"-?\d+", operand) and kind[0] != "f":
            if kind == "pred":
                return str(int(operand != "0"))
            return f"(({c})({_integer(int(operand))}))"
        raise UnknownInstructionError(f"operand {operand} of type {kind}")

    def write(self, operand: str, kind: str, value: str) -> str:
        """Assign a value of a PTX type to a register."""
        holds = self.kernel.registers.get(operand)
        if holds is None:
            raise UnknownInstructionError(f"{operand} written")
        if (holds[0] == "f") != (kind[0] == "f"):
            if holds[1:] != kind[1:]:
                raise UnknownInstructionError(f"{operand} written as {kind}")
            cast = "float_of" if holds[0] == "f" else "bits_of"
            value = f"{cast}{holds[1:]}({value})"
        elif (holds[0] == "f" and holds != kind) or (holds == "pred") != (kind == "pred"):
            raise UnknownInstructionError(f"{operand} written as {kind}")
        elif kind[0] == "s":  # a wider register takes the sign
            value = f"(int{holds[1:]}_t)({value})"
        return f"{self.names[operand]} = {value};"

    def address(self, operand: str) -> str:
        """``[%rd1+8]`` or ``[symbol]``."""
        found = re.fullmatch(r"\[([%\w$]+)(?:\+(-?\d+))?\]", operand)
        if found is None:
            raise UnknownInstructionError(f"address {operand}")
        base = self.read(found[1], "u64")
        return f"{base} + ({_integer(int(found[2]))})" if found[2] else base

    # -- instructions -----------------------------------------------------------------------------

    def statement(self, i: Instruction) -> str:
        """Write C for one instruction that is no barrier, branch or return."""
        rule: Callable[[Instruction], str] | None = getattr(self, f"_{i.parts[0]}", None)
        if rule is None:
            raise UnknownInstructionError(i.text)
        try:
            return rule(i)
        except UnknownInstructionError as problem:
            raise UnknownInstructionError(f"{i.text}: {problem}") from None
        except (KeyError, ValueError):
            raise UnknownInstructionError(i.text) from None

    def _binary(self, i: Instruction, *forms: str) -> str:
        name, kind = i.parts[0], i.parts[-1]
        rounding = i.parts[1:-1]
        integer = kind[0] in "sub"
        if kind == "pred" and name in ("and", "or", "xor"):
            pass
        elif name == "mul" and integer:
            if rounding != ["lo"]:
                raise UnknownInstructionError(i.text)
        elif rounding not in ([], ["rn"]):
            raise UnknownInstructionError(i.text)
        d, a, b = i.operands
        # Integers wrap, so they are computed as unsigned numbers.
        work = kind if not integer else "u" + kind[1:]
        value = f"{self.read(a, work)} {ARITHMETIC[name]} {self.read(b, work)}"
        return self.write(d, work, f"({C_TYPES[work]})({value})" if integer else f"({value})")

    _sub = _and = _or = _xor = _binary

    def _add(self, i: Instruction) -> str:
        if i.opcode == "add.rz.f32":
            d, a, b = i.operands
            value = f"add_to_zero({self.read(a, 'f32')}, {self.read(b, 'f32')})"
            return self.write(d, "f32", value)
        return self._binary(i)

    def _mul(self, i: Instruction) -> str:
        d, a, b = i.operands
        if i.opcode in ("mul.wide.s32", "mul.wide.u32"):
            small, wide = i.parts[2], i.parts[2][0] + "64"
            c = C_TYPES[wide]
            value = f"({c}){self.read(a, small)} * ({c}){self.read(b, small)}"
            return self.write(d, "u64", f"(uint64_t)({value})")
        if i.opcode in ("mul.hi.s64", "mul.hi.u64"):
            wide = "__int128" if i.opcode.endswith("s64") else "unsigned __int128"
            kind = i.parts[2]
            value = f"({wide}){self.read(a, kind)} * ({wide}){self.read(b, kind)}"
            return self.write(d, "u64", f"(uint64_t)(({value}) >> 64)")
        return self._binary(i)

    def _mad(self, i: Instruction) -> str:
        _, low, kind = i.parts
        d, a, b, c = i.operands
        if low == "lo" and kind[0] in "su":
            u = "u" + kind[1:]
            value = f"{self.read(a, u)} * {self.read(b, u)} + {self.read(c, u)}"
            return self.write(d, u, f"({C_TYPES[u]})({value})")
        if low == "wide" and kind in ("s32", "u32"):
            t = C_TYPES[kind[0] + "64"]
            value = f"(uint64_t)(({t}){self.read(a, kind)} * ({t}){self.read(b, kind)})"
            return self.write(d, "u64", f"{value} + {self.read(c, 'u64')}")
        raise UnknownInstructionError(i.text)

    def _fma(self, i: Instruction) -> str:
        _, rounding, kind = i.parts
        if rounding != "rn" or kind not in ("f32", "f64"):
            raise UnknownInstructionError(i.text)
        d, *factors = i.operands
        values = ", ".join(self.read(o, kind) for o in factors)
        return self.write(d, kind, f"__builtin_fma{'f' if kind == 'f32' else ''}({values})")

    def _function(self, i: Instruction, name: str) -> str:
        kind = i.parts[-1]
        d, *given = i.operands
        return self.write(d, kind, f"{name}({', '.join(self.read(o, kind) for o in given)})")

    def _div(self, i: Instruction) -> str:
        kind = i.parts[-1]
        if i.opcode in ("div.s64", "div.s32", "div.u64", "div.u32"):
            d, a, b = i.operands
            value = f"{self.read(a, kind)} / divisor({self.read(b, kind)})"
            return self.write(d, kind, f"({C_TYPES[kind]})({value})")
        if i.opcode in ("div.rn.f32", "div.rn.f64"):
            d, a, b = i.operands
            return self.write(d, kind, f"({self.read(a, kind)} / {self.read(b, kind)})")
        return self._approximation(i)

    def _rem(self, i: Instruction) -> str:
        kind = i.parts[-1]
        if len(i.parts) != 2 or kind not in ("s64", "s32", "u64", "u32"):
            raise UnknownInstructionError(i.text)
        d, a, b = i.operands
        return self.write(d, kind, f"({self.read(a, kind)} % divisor({self.read(b, kind)}))")

    def _approximation(self, i: Instruction) -> str:
        if i.opcode not in APPROXIMATIONS:
            raise UnknownInstructionError(i.text)
        return self._function(i, i.opcode.replace(".", "_"))

    _lg2 = _approximation

    def _rcp(self, i: Instruction) -> str:
        if i.opcode in ("rcp.rn.f32", "rcp.rn.f64"):
            kind = i.parts[-1]
            value = f"(({C_TYPES[kind]})1 / {self.read(i.operands[1], kind)})"
            return self.write(i.operands[0], kind, value)
        return self._approximation(i)

    def _sqrt(self, i: Instruction) -> str:
        if i.parts[1] != "rn":
            raise UnknownInstructionError(i.text)
        return self._function(i, {"f32": "sqrtf", "f64": "sqrt"}[i.parts[2]])

    def _min(self, i: Instruction) -> str:
        _, kind = i.parts
        if kind[0] == "f":
            return self._function(i, f"{i.parts[0]}_{kind}")
        d, a, b = i.operands
        a, b = self.read(a, kind), self.read(b, kind)
        sign = "<" if i.parts[0] == "min" else ">"
        return self.write(d, kind, f"({a} {sign} {b} ? {a} : {b})")

    _max = _min

    def _neg(self, i: Instruction) -> str:
        _, kind = i.parts
        value = f"-{self.read(i.operands[1], kind if kind[0] == 'f' else 'u' + kind[1:])}"
        return self.write(i.operands[0], kind, f"({C_TYPES[kind]})({value})")

    def _abs(self, i: Instruction) -> str:
        _, kind = i.parts
        return self._function(i, {"f32": "fabsf", "f64": "fabs"}[kind])

    def _copysign(self, i: Instruction) -> str:
        # The sign is that of the first operand, the size that of the second; C has them swapped.
        _, kind = i.parts
        d, sign, size = i.operands
        name = {"f32": "copysignf", "f64": "copysign"}[kind]
        return self.write(d, kind, f"{name}({self.read(size, kind)}, {self.read(sign, kind)})")

    def _not(self, i: Instruction) -> str:
        _, kind = i.parts
        value = self.read(i.operands[1], kind)
        c = C_TYPES[kind]
        return self.write(i.operands[0], kind, f"!{value}" if kind == "pred" else f"({c})~{value}")

    def _shift(self, i: Instruction) -> str:
        name, kind = i.parts
        if name == "shl" and kind[0] != "b":
            raise UnknownInstructionError(i.text)
        value, amount = self.read(i.operands[1], kind), self.read(i.operands[2], "u32")
        bits = int(kind[1:])
        if kind[0] == "s":
            done = f"{value} >> ({amount} < {bits} ? {amount} : {bits - 1})"
        else:
            done = f"{amount} < {bits} ? {value} {'<<' if name == 'shl' else '>>'} {amount} : 0"
        return self.write(i.operands[0], kind, f"({C_TYPES[kind]})({done})")

    _shl = _shr = _shift

    def _mov(self, i: Instruction) -> str:
        _, kind = i.parts
        d, a = i.operands
        if d[0] == "{":  # halves of a float64
            low, high = _registers(d, self.kernel)
            bits = self.read(a, kind)
            return " ".join(
                [
                    self.write(low, "u32", f"(uint32_t){bits}"),
                    self.write(high, "u32", f"(uint32_t)({bits} >> 32)"),
                ]
            )
        if a[0] == "{":
            low, high = (self.read(r, "b32") for r in a[1:-1].replace(" ", "").split(","))
            return self.write(d, kind, f"((uint64_t){high} << 32 | {low})")
        return self.write(d, kind, self.read(a, kind))

    def _selp(self, i: Instruction) -> str:
        _, kind = i.parts
        d, a, b, p = i.operands
        value = f"{self.read(p, 'pred')} ? {self.read(a, kind)} : {self.read(b, kind)}"
        return self.write(d, kind, f"({value})")

    def _setp(self, i: Instruction) -> str:
        _, comparison, kind = i.parts
        d, a, b = i.operands
        a, b = self.read(a, kind), self.read(b, kind)
        if kind[0] != "f":
            if kind[0] == "b" and comparison not in ("eq", "ne"):
                raise UnknownInstructionError(i.text)
            value = f"{a} {COMPARISONS[comparison]} {b}"
        elif comparison in ("nan", "num"):
            value = f"{'!' * (comparison == 'num')}is_unordered({a}, {b})"
        elif comparison in COMPARISONS:
            value = f"!is_unordered({a}, {b}) && {a} {COMPARISONS[comparison]} {b}"
        else:
            assert comparison[-1] == "u"
            value = f"is_unordered({a}, {b}) || {a} {COMPARISONS[comparison[:-1]]} {b}"
        return self.write(d, "pred", f"({value})")

    def _cvt(self, i: Instruction) -> str:
        *rounding, to, of = i.parts[1:]
        d, a = i.operands
        value = self.read(a, of)
        kinds = to[0] + of[0]
        if rounding == [] and "f" not in kinds:
            return self.write(d, to, f"({C_TYPES[to]}){value}")
        if (rounding, to, of) == ([], "f64", "f32") or (
            rounding == ["rn"] and (to, of) == ("f32", "f64")
        ):
            return self.write(d, to, f"({C_TYPES[to]}){value}")
        if rounding == ["rn"] and to[0] == "f" and of[0] in "su":
            return self.write(d, to, f"({C_TYPES[to]}){value}")
        if rounding == ["rni"] and to == of and to[0] == "f":
            return self.write(d, to, f"{'rintf' if to == 'f32' else 'rint'}({value})")
        if rounding == ["rzi"] and to == "s32" and of in ("f32", "f64"):
            return self.write(d, to, f"to_s32({value})")
        raise UnknownInstructionError(i.text)

    def _cvta(self, i: Instruction) -> str:
        # Generic addresses are addresses of global memory here.
        if i.opcode != "cvta.to.global.u64":
            raise UnknownInstructionError(i.text)
        return self.write(i.operands[0], "u64", self.read(i.operands[1], "u64"))

    def _space_and_kinds(self, i: Instruction) -> tuple[str, int, str]:
        middle = i.parts[1:-1]
        count = 1
        if middle and middle[-1] in ("v2", "v4"):
            count = int(middle.pop()[1])
        space = middle.pop(0) if middle and middle[0] in ("global", "shared", "local") else ""
        if middle:
            raise UnknownInstructionError(i.text)
        return space or "global", count, i.parts[-1]

    def _ld(self, i: Instruction) -> str:
        kind = i.parts[-1]
        if i.parts[1] == "param":
            if len(i.parts) != 3:
                raise UnknownInstructionError(i.text)
            n = self.parameters[i.operands[1][1:-1]]
            declared = self.kernel.parameters[n][1]
            if declared[1:] != kind[1:]:
                raise UnknownInstructionError(i.text)
            value = f"*(const {C_TYPES[kind]} *)at->words[{n}]"
            return self.write(i.operands[0], kind, value)
        space, count, kind = self._space_and_kinds(i)
        d = [i.operands[0]] if count == 1 else re.findall(r"%\w+", i.operands[0])
        address, size = self.address(i.operands[1]), int(kind[1:]) // 8
        where = f"const char *p = {space}_read(at, {address}, {count * size}, {size});"
        stores = (
            self.write(r, kind, f"*(const {C_TYPES[kind]} *)(p + {n * size})")
            for n, r in enumerate(d)
        )
        return f"{{ {where} {' '.join(stores)} }}"

    def _st(self, i: Instruction) -> str:
        space, count, kind = self._space_and_kinds(i)
        values = [i.operands[1]] if count == 1 else re.findall(r"%\w+", i.operands[1])
        assert len(values) == count
        address, size = self.address(i.operands[0]), int(kind[1:]) // 8
        c = C_TYPES[kind]
        given = ", ".join(self.read(v, kind) for v in values)
        return (
            f"{{ const {c} v[] = {{{given}}}; "
            f"{space}_write(at, {address}, v, {count * size}, {size}); }}"
        )


def _integer(value: int) -> str:
    return f"{value}ll" if abs(value) < 2**63 else f"{value}ull"


# -- the whole ------------------------------------------------------------------------------------


def opcodes(ptx: str) -> set[str]:
    """Return the instructions of a kernel."""
    return {i.opcode for i in parse(ptx).code if isinstance(i, Instruction)}


def translate(ptx: str) -> str:
    """Return C for the only kernel in a PTX text; see `UnknownInstructionError`."""
    kernel = parse(ptx)
    writer = _Writer(kernel)
    live = live_at_barriers(kernel)
    kept = sorted(set().union(*live.values()))
    lines = ["#include <stdbool.h>", "#include <stdint.h>"]
    for name, space in (("SHARED", kernel.shared), ("LOCAL", kernel.local)):
        lines.append(f"#define {name}_BYTES {sum(-(-size // 16) * 16 for size in space.values())}")
    fields = [f"{C_TYPES[kernel.registers[r]]} {writer.names[r]};" for r in kept]
    lines.append(f"struct registers {{ char none; {' '.join(fields)} }};")
    lines.append('#include "ptx_machine.h"')
    lines.append("static int run(struct thread *at, struct registers *kept, int resume) {")
    lines += [f"  {C_TYPES[kind]} {writer.names[r]} = 0;" for r, kind in kernel.registers.items()]
    barriers = {n: k for k, n in enumerate(live, 1)}
    lines.append("  switch (resume) {")
    lines += [f"  case {k}: goto barrier_{k};" for k in barriers.values()]
    lines.append("  }")
    for n, i in enumerate(kernel.code):
        if isinstance(i, str):
            lines.append(f"{_label(i)}: ;")
            continue
        if i.parts[0] == "bra":
            if i.parts[1:] not in ([], ["uni"]):
                raise UnknownInstructionError(i.text)
            done = f"goto {_label(i.operands[0])};"
        elif i.opcode == "ret":
            done = "return 0;"
        elif i.parts[0] == "bar":
            if i.opcode != "bar.sync" or i.operands != ["0"] or i.guard:
                raise UnknownInstructionError(i.text)
            k, names = barriers[n], [writer.names[r] for r in sorted(live[n])]
            lines += [f"  kept->{r} = {r};" for r in names]
            lines += [f"  return {k};", f"barrier_{k}: ;"]
            lines += [f"  {r} = kept->{r};" for r in names]
            continue
        else:
            done = writer.statement(i)
        if i.guard:
            sign, p = ("!", i.guard[1:]) if i.guard[0] == "!" else ("", i.guard)
            done = f"if ({sign}{writer.names[p]}) {{ {done} }}"
        lines.append("  " + done)
    lines += ["  return 0;", "}"]
    return "\n".join(lines) + "\n"


def _label(name: str) -> str:
    return "L_" + re.sub(r"\W", "_", name)
