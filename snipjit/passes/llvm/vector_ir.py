"""What llvmlite's IRBuilder lacks for vectors: splat constants, intrinsics by type.

A *shape* here is the LLVM type of a value: an element type, or a vector ``<N x element>`` of it.
Every helper takes either, so that emitters are written once for scalars and vectors.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache

from llvmlite import ir


class BFloat(ir.Type):  # type: ignore[misc]  # llvmlite has no types
    """LLVM's ``bfloat``, which llvmlite does not know."""

    def _to_string(self) -> str:
        return "bfloat"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, BFloat)

    def __hash__(self) -> int:
        return hash(BFloat)


BF16 = BFloat()
F16 = ir.HalfType()
F32 = ir.FloatType()
F64 = ir.DoubleType()
I1 = ir.IntType(1)
I8 = ir.IntType(8)
I16 = ir.IntType(16)
I32 = ir.IntType(32)
I64 = ir.IntType(64)

_ZERO = ir.Constant(I32, 0)

QUAD = 4
"""Lanes of 128 bits, inside which shuffles are cheap on x86."""


class Splat(ir.Constant):  # type: ignore[misc]  # llvmlite has no types
    """One number in every lane, printed as LLVM's short ``splat (float 1.0)``."""

    def __init__(self, type: ir.VectorType, number: float) -> None:
        super().__init__(type, [ir.Constant(type.element, number)] * type.count)
        self.number = number

    def get_reference(self) -> str:
        """The constant as an operand in IR text."""
        element = self.type.element
        return f"splat ({element} {ir.Constant(element, self.number).get_reference()})"


def constant(type: ir.Type, number: float) -> ir.Constant:
    """A number as a constant of a scalar type, or in every lane of a vector type."""
    if isinstance(type, ir.VectorType):
        return Splat(type, number)
    return ir.Constant(type, number)


@cache
def lane_numbers(numbers: tuple[int, ...]) -> ir.Constant:
    """A vector of i32 constants, as masks of shuffles are. Made once: printing it takes long."""
    return ir.Constant(ir.VectorType(I32, len(numbers)), list(numbers))


def pick(builder: ir.IRBuilder, vector: ir.Value, lanes: Iterable[int]) -> ir.Value:
    """Some lanes of one vector."""
    return builder.shuffle_vector(vector, _undefined(vector.type), lane_numbers(tuple(lanes)))


def pick_of_two(builder: ir.IRBuilder, a: ir.Value, b: ir.Value, lanes: Iterable[int]) -> ir.Value:
    """Lanes of two vectors side by side."""
    return builder.shuffle_vector(a, b, lane_numbers(tuple(lanes)))


def interleave(
    builder: ir.IRBuilder, a: ir.Value, b: ir.Value, stride: int
) -> tuple[ir.Value, ir.Value]:
    """Blocks of ``stride`` lanes of two vectors in turns: the first half of each, and the second.

    Of 1 or 2 lanes this happens inside quads (x86's unpack instructions). Blocks of 4 come from
    whole vectors: the even ones of ``a`` and then of ``b``, and the odd ones (x86's shuf).
    """
    width = a.type.count
    lanes = [lane for lane in range(width) if not lane & stride] if stride >= QUAD else []
    low = lanes + [width + lane for lane in lanes]
    for quad in range(0, width if stride < QUAD else 0, QUAD):
        starts = (
            (quad, quad + width)
            if stride == 2
            else (quad, quad + width, quad + 1, quad + 1 + width)
        )
        low += [start + lane for start in starts for lane in range(stride)]
    distance = stride if stride >= QUAD else 2
    high = [lane + distance for lane in low]
    return pick_of_two(builder, a, b, low), pick_of_two(builder, a, b, high)


def broadcast(builder: ir.IRBuilder, value: ir.Value, width: int) -> ir.Value:
    """A scalar in every lane of a vector."""
    undefined = _undefined(ir.VectorType(value.type, width))
    first = builder.insert_element(undefined, value, _ZERO)
    return builder.shuffle_vector(first, undefined, lane_numbers((0,) * width))


@cache
def _undefined(type: ir.Type) -> ir.Constant:
    return ir.Constant(type, ir.Undefined)


def number_of(value: ir.Value) -> float | None:
    """The number that a constant scalar or Splat holds; None for any other value."""
    if isinstance(value, Splat):
        return value.number
    if isinstance(value, ir.Constant) and isinstance(value.constant, int | float):
        return value.constant
    return None


def element_of(type: ir.Type) -> ir.Type:
    """The element type of a vector, or the scalar type itself."""
    return type.element if isinstance(type, ir.VectorType) else type


def with_element(type: ir.Type, element: ir.Type) -> ir.Type:
    """The shape of ``type`` with another element type."""
    return ir.VectorType(element, type.count) if isinstance(type, ir.VectorType) else element


def type_suffix(type: ir.Type) -> str:
    """The name LLVM gives a type in the name of an overloaded intrinsic: ``f32``, ``v16f32``."""
    if isinstance(type, ir.VectorType):
        return f"v{type.count}{type_suffix(type.element)}"
    return {F32: "f32", F64: "f64"}[type] if type in (F32, F64) else f"i{type.width}"


CACHE_LINE = 64
"""Bytes that a prefetch brings."""


def ask_for(builder: ir.IRBuilder, address: ir.Value, near: bool = True) -> None:
    """Prefetch a cache line to be read, into the first level or only as near as the second."""
    flags = (0, 3 if near else 2, 1)
    operands = [address, *(ir.Constant(I32, flag) for flag in flags)]
    call_intrinsic(builder, "llvm.prefetch.p0", ir.VoidType(), operands)


def call_intrinsic(
    builder: ir.IRBuilder, name: str, result: ir.Type, operands: Sequence[ir.Value]
) -> ir.Value:
    """Call a (declared once) intrinsic by its full name."""
    function = builder.module.globals.get(name)
    if function is None:
        signature = ir.FunctionType(result, [operand.type for operand in operands])
        function = ir.Function(builder.module, signature, name)
    return builder.call(function, operands)


def intrinsic(builder: ir.IRBuilder, name: str, *operands: ir.Value) -> ir.Value:
    """Call an intrinsic that is overloaded on the one type of its operands and result."""
    type = operands[0].type
    return call_intrinsic(builder, f"{name}.{type_suffix(type)}", type, operands)


def keep_order(builder: ir.IRBuilder) -> None:
    """No instruction moves across this place: a label, as debuggers want them, bounds scheduling.

    LLVM's scheduler would mix all that a long block multiplies, and spill what it then has alive.
    """
    name, module = "llvm.codeview.annotation", builder.module
    function = module.globals.get(name)
    if function is None:
        signature = ir.FunctionType(ir.VoidType(), [ir.MetaDataType()])
        function = ir.Function(module, signature, name)
    builder.call(function, [module.add_metadata([ir.MetaDataString(module, "order")])])
