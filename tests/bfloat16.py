"""Numbers of bfloat16, and counted calls of the kernels that round to them."""

import numpy as np


def rounded(A):
    """The nearest numbers with 8 binary digits, ties to even, in float64."""
    mantissa, exponent = np.frexp(A.astype(np.float64))
    return np.ldexp(np.rint(np.ldexp(mantissa, 8)), exponent - 8)


def count_calls(monkeypatch, module, names):
    """How often each function of these names in `module` is called from now on."""
    called = dict.fromkeys(names, 0)

    def counted(name):
        kernel = getattr(module, name)

        def call(*arguments):
            called[name] += 1
            kernel(*arguments)

        return call

    for name in names:
        monkeypatch.setattr(module, name, counted(name))
    return called
