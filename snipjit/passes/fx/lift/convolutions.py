"""Convolutions of one tap, which multiply the channels of each point by a matrix."""

from __future__ import annotations

from typing import Any

from torch import fx

from snipjit.passes.fx.nodes.calls import Call
from snipjit.passes.fx.nodes.refused import RefusedError
from snipjit.passes.fx.nodes.traced import is_one, is_tensor, literal, tensor


def has_one_tap(call: Call) -> bool:
    """Whether a convolution is a product: a kernel of size 1 at every point, of all channels."""
    sides = [call.get(name) for name in ("input", "weight")]
    if not all(map(is_tensor, sides)) or call.get("transposed", False) is not False:
        return False
    padding = call.get("padding", 0)
    return (
        all(map(is_one, tensor(sides[1]).shape[2:]))
        and (padding in ("valid", "same") or _all(padding, 0))
        and all(_all(call.get(name, 1), 1) for name in ("stride", "dilation", "groups"))
    )


def _all(given: Any, wanted: int) -> bool:
    """Whether a number, or each of a tuple, is a wanted one in every call."""
    numbers = given if isinstance(given, list | tuple) else (given,)
    return all(literal(number) == wanted for number in numbers)


def check_one_tap(node: fx.Node, call: Call) -> None:
    """Raise RefusedError for a convolution of more taps."""
    if not has_one_tap(call):
        raise RefusedError(
            f"`{node.name}` (convolution) sums over neighbours; accepted: kernels of size 1 at "
            "every point, of all channels"
        )
