"""What tracing knows of a node's value: shape, element type, device, storage.

Sizes are ints or SymInts; comparing them here never adds a guard. Only ``constant`` adds one.
"""

from __future__ import annotations

import operator
from collections.abc import Hashable, Iterable, Sequence
from functools import reduce
from typing import Any

import torch
from torch import fx

from snipjit.ir.element_types import ELEMENT_TYPES
from snipjit.passes.fx.nodes.refused import RefusedError
from snipjit.torch_private import (
    as_int,
    expression,
    is_modules_own,
    is_plain,
    is_wrapped,
    statically_true,
    storage_identity,
    traced_number,
    unwrapped,
)

Size = int | torch.SymInt

DTYPES = {getattr(torch, ELEMENT_TYPES[name].torch): name for name in ("f32", "bf16", "f16", "i1")}
"""The element types that tensors of a candidate may have."""
*_names, _last = (str(dtype).removeprefix("torch.") for dtype in DTYPES)
ACCEPTED = f"{', '.join(_names)} and {_last} tensors on the CPU"
FLOATS8 = {getattr(torch, ELEMENT_TYPES[name].torch): name for name in ("f8e4m3fn", "f8e5m2")}
"""Floats in which nothing is computed: they are given, and converted as they are read."""
CONVERTED = {**DTYPES, **FLOATS8}
"""The element types that tensors may have from which there are casts."""
FLOATS = tuple(dtype for dtype, name in DTYPES.items() if ELEMENT_TYPES[name].kind == "float")
HALVES = tuple(dtype for dtype, name in DTYPES.items() if ELEMENT_TYPES[name].is_half)


EARLIER = "snipjit_earlier"
"""What a node's value was before it was viewed in place, None where nobody knows."""


def traced_value(node: fx.Node) -> Any:
    """The example value that Dynamo or torch.export left on a node, or None."""
    return node.meta.get("example_value", node.meta.get("val"))


def value(node: fx.Node) -> Any:
    """The example value of a node as it was made, or None."""
    return node.meta.get(EARLIER) if EARLIER in node.meta else traced_value(node)


def tensor(node: fx.Node) -> torch.Tensor:
    """The node's fake tensor; refused where there is none."""
    found = value(node)
    if not isinstance(found, torch.Tensor):
        if EARLIER in node.meta:
            raise RefusedError(
                f"`{node.name}` is viewed in place later; accepted: views of its own"
            )
        raise RefusedError(f"`{node.name}` has no traced tensor; accepted: graphs with shapes")
    return found


STATE = "snipjit_state"
"""Marks inputs of an exported program that are its parameters, buffers and constants."""


def note_state(inputs: Iterable[fx.Node]) -> None:
    """Note of inputs of a graph that they are its module's."""
    for node in inputs:
        if node.op == "placeholder":
            node.meta[STATE] = True


def is_state(node: fx.Node) -> bool:
    """Whether a graph is given a value by its module, and not by the call.

    Of buffers that Dynamo makes inputs, those of integers are: they are weights, and no caches.
    """
    found = traced_value(node)
    if node.op == "get_attr" or node.meta.get(STATE, False):
        return True
    integers = isinstance(found, torch.Tensor) and found.dtype in BYTES
    return isinstance(found, torch.nn.Parameter) or (integers and is_modules_own(node.meta))


def is_tensor(node: object) -> bool:
    """Whether an argument is a node with a tensor value."""
    return isinstance(node, fx.Node) and isinstance(value(node), torch.Tensor)


def is_number(argument: object) -> bool:
    """Whether an argument is one number of the call: a literal, a symbol or a 0-dim tensor."""
    if not isinstance(argument, fx.Node):
        return isinstance(argument, int | float)
    found = value(argument)
    if isinstance(found, torch.Tensor):
        return found.dim() == 0
    return isinstance(found, int | float | torch.SymInt | torch.SymFloat)


def constant(argument: object) -> float | None:
    """The number that an argument is in this trace, None for anything else.

    A symbolic one becomes a constant: Dynamo guards it and compiles again where it changes.
    """
    found = value(argument) if isinstance(argument, fx.Node) else argument
    if isinstance(found, torch.SymInt | torch.SymFloat):
        known = traced_number(found)
        return None if known is None else float(known)
    return found if isinstance(found, int | float) else None


def literal(argument: object) -> int | None:
    """The int that an argument is in every call, None for anything else.

    A symbol is one where tracing needed its value, as that of a dim.
    """
    found = value(argument) if isinstance(argument, fx.Node) else argument
    if isinstance(found, torch.SymInt):
        return as_int(found)
    return found if isinstance(found, int) else None


BYTES = {getattr(torch, ELEMENT_TYPES[name].torch): name for name in ("i8", "u8")}
"""The integers that weights may be made of, which kernels read as they lie."""
QUANTIZED = {**BYTES, **FLOATS8}
"""All that weights may be made of so."""

INTEGERS = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)


def is_integer(node: fx.Node) -> bool:
    """Whether a node is a tensor of integers on the CPU."""
    found = value(node)
    return isinstance(found, torch.Tensor) and found.dtype in INTEGERS and is_strided(found)


def is_strided(found: torch.Tensor) -> bool:
    """Whether a tensor is no more than elements and strides, on the CPU."""
    return is_plain(found) and found.device.type == "cpu" and found.layout == torch.strided


def is_one_integer(node: fx.Node) -> bool:
    """Whether a node is an integer tensor of one element, such as a zero point of shape [1]."""
    found = value(node)
    if not isinstance(found, torch.Tensor) or found.dim() > 1 or not all(map(is_one, found.shape)):
        return False
    return not (found.is_floating_point() or found.is_complex() or found.dtype == torch.bool)


def element_type(node: fx.Node) -> str:
    """The element type of a tensor; refused for other types, devices and layouts."""
    if (name := converted_type(node)) in FLOATS8.values():
        kind = _dtype(tensor(node))
        raise RefusedError(f"`{node.name}` is {kind}, which PyTorch makes; accepted: casts from it")
    return name


def converted_type(node: fx.Node) -> str:
    """The element type of a tensor that is read to be converted: also a float of 8 bits."""
    found = tensor(node)
    if is_wrapped(found):
        raise RefusedError(
            f"`{node.name}` is inside torch.func.vmap, grad or jvp; accepted: tensors outside them"
        )
    check_plain(node)
    if found.device.type != "cpu" or found.layout != torch.strided:
        where = f"{found.layout} on {found.device}"
        raise RefusedError(f"`{node.name}` is {where}; accepted: strided {ACCEPTED}")
    if found.is_neg():
        raise RefusedError(f"`{node.name}` is a view with other signs; accepted: its resolve_neg()")
    if found.dtype not in CONVERTED:
        raise RefusedError(f"`{node.name}` is {_dtype(found)}; accepted: {ACCEPTED}")
    return CONVERTED[found.dtype]


def check_plain(node: fx.Node) -> None:
    """Refuse a tensor of a subclass, which decides itself what memory holds and ops mean."""
    found = tensor(node)
    if not is_plain(found):
        raise RefusedError(
            f"`{node.name}` is a {type(found).__name__}, a subclass of torch.Tensor; accepted: "
            "plain tensors, such as a DTensor's to_local()"
        )


def _dtype(found: torch.Tensor) -> str:
    return str(found.dtype).removeprefix("torch.")


def storage(node: fx.Node) -> int | None:
    """What a tensor's views have in common; None for anything that is not a tensor."""
    found = traced_value(node)
    while isinstance(found, torch.Tensor) and is_wrapped(found):
        found = unwrapped(found)
    if not isinstance(found, torch.Tensor) or found.layout != torch.strided:
        return None
    return storage_identity(found)


def product(sizes: Iterable[Size]) -> Size:
    """The product of sizes; 1 for none."""
    found = list(sizes)
    return reduce(operator.mul, found) if found else 1


def same(a: Size, b: Size) -> bool:
    """Whether two sizes are equal for every value of their symbols."""
    if isinstance(a, int) and isinstance(b, int):
        return a == b
    if isinstance(a, torch.SymInt) and isinstance(b, torch.SymInt):
        if expression(a) == expression(b):
            return True  # what is spelled alike needs no proof, which takes 50 times as long
    return statically_true(a == b)


def same_count(a: fx.Node, b: fx.Node) -> bool:
    """Whether two tensors have equally many elements, whatever the symbols are."""
    return same(tensor(a).numel(), tensor(b).numel())


def is_one(size: Size) -> bool:
    """Whether a size is literally 1 in the trace."""
    return isinstance(size, int) and size == 1


def memory_order(node: fx.Node) -> tuple[int, ...]:
    """The dims of a node's value, outermost in memory first."""
    strides = [_magnitude(stride) for stride in tensor(node).stride()]
    return tuple(sorted(range(len(strides)), key=lambda dim: -strides[dim]))


def _magnitude(stride: Size) -> int:
    """A number that orders strides: the traced one, or one with 97 for every free symbol."""
    if isinstance(stride, int):
        return stride
    if (known := traced_number(stride)) is not None:
        return int(known)
    expr = expression(stride)
    return int(expr.subs(dict.fromkeys(expr.free_symbols, 97)))


def form(found: Any) -> Hashable:
    """What traced values of equal calls have in common: all but the elements."""
    if isinstance(found, torch.Tensor):
        sizes = form((found.shape, found.stride()))
        return (type(found), sizes, found.dtype, found.layout, found.device, found.requires_grad)
    if isinstance(found, torch.SymInt | torch.SymFloat):
        return (type(found), expression(found))
    if isinstance(found, tuple | list):
        return tuple(form(item) for item in found)
    if isinstance(found, dict):
        return tuple((name, form(item)) for name, item in found.items())
    if isinstance(found, slice):
        return (slice, found.start, found.stop, found.step)
    return (type(found), found)


def normal_dim(dim: int, rank: int) -> int:
    """A dim counted from the front."""
    return dim % rank if rank else 0


def ints(values: Sequence[Any]) -> list[int]:
    """Ints that are the same in every call, or a refusal."""
    found = [known for item in values if (known := literal(item)) is not None]
    if len(found) < len(values):
        raise RefusedError("dims computed at run time; accepted: literal dims")
    return found
