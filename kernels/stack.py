"""Small work arrays on the stack, in compiled code for a processor or a GPU."""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.errors import TypingError
from numba.extending import intrinsic

from fastbcd.kernels.plain import PLAIN


@intrinsic(prefer_literal=True)
def stack_array(typingctx: Any, size: Any) -> Any:
    """Uninitialised float64 array of `size` elements, a constant; valid until its caller returns.

    ``np.empty`` allocates memory, which a thread of a GPU cannot do.
    """
    if not isinstance(size, types.IntegerLiteral):
        raise TypingError("stack_array needs a constant size")
    n = size.literal_value
    array = types.Array(types.float64, 1, "C")

    def codegen(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        word = context.get_value_type(types.intp)
        memory = cgutils.alloca_once(builder, ir.ArrayType(ir.DoubleType(), n))
        struct = context.make_array(array)(context, builder)
        struct.data = builder.bitcast(memory, struct.data.type)
        struct.nitems, struct.itemsize = word(n), word(8)
        struct.shape = cgutils.pack_array(builder, [word(n)])
        struct.strides = cgutils.pack_array(builder, [word(8)])
        struct.meminfo = cgutils.get_null_value(struct.meminfo.type)
        struct.parent = cgutils.get_null_value(struct.parent.type)
        return struct._getvalue()

    return array(size), codegen


if PLAIN:
    stack_array = np.empty
