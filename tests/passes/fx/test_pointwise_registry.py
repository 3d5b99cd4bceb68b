"""Every pointwise function of PyTorch is taken, or refused by name.

The functions are listed by PyTorch itself: the operations of ATen that it tags as pointwise, those
for floats in each overload, and what ``torch.overrides`` knows of ``torch``,
``torch.nn.functional`` and ``torch.special``, of which those are pointwise whose value at an
element follows from the operands' there. What a new version adds fails here by its name: it wants a
row of ``pointwise_rows.py``, or a reason there.
"""

from __future__ import annotations

import inspect
import itertools
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, fx

from snipjit.passes.fx.nodes.calls import lookup
from snipjit.passes.fx.nodes.op_table import TABLE
from snipjit.passes.fx.nodes.pointwise_rows import REFUSED_BY_NAME
from snipjit.torch_private import schema_arguments

HOMES = (torch, F, torch.special)

NUMBERS = torch.tensor([[-2.3, 0.4, 1.7, 0.3], [0.9, -0.6, 3.2, -3.1], [2.0, -1.5, 0.1, 0.8]])


def operands(count: int) -> list[Tensor]:
    """Tensors of one shape, each with a number of the first in another place."""
    found = [NUMBERS * (1 - 0.3 * number) for number in range(count)]
    for other in found[1:]:
        other[0, 0] = NUMBERS[1, 1]
    return found


def result(function: Callable[..., Any], arguments: tuple[Any, ...]) -> Tensor | None:
    """The float or boolean tensor that a function gives; None where it takes no such arguments."""
    copies = [a.clone() if isinstance(a, Tensor) else a for a in arguments]
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            found = function(*copies)
    except (RuntimeError, TypeError, ValueError, IndexError, AttributeError, AssertionError):
        return None
    known = isinstance(found, Tensor) and (found.is_floating_point() or found.dtype == torch.bool)
    return found if known else None


def is_pointwise(function: Callable[..., Any], arguments: tuple[Any, ...]) -> bool:
    """Whether parts and turns of the operands give the same parts and turns of the result.

    What gives an operand or one number back is no function of floats.
    """
    whole = result(function, arguments)
    if whole is None or whole.shape != NUMBERS.shape or (whole == whole[0, 0]).all():
        return False
    if any(isinstance(a, Tensor) and torch.equal(whole, a) for a in arguments):
        return False
    parts: tuple[Callable[[Tensor], Tensor], ...] = (
        lambda x: x.flip(0, 1), lambda x: x[1:, :2], lambda x: x[:1].mT, lambda x: x[1:2, 1:2],
    )  # fmt: skip
    for part in parts:
        own = [part(a) if isinstance(a, Tensor) else a for a in arguments]
        found = result(function, tuple(own))
        if found is None or found.shape != part(whole).shape:
            return False
        if not torch.allclose(found.double(), part(whole).double(), equal_nan=True):
            return False
    return True


def choices(count: int) -> Iterator[tuple[Any, ...]]:
    """Arguments for so many required ones: tensors before numbers, at least one tensor."""
    for are_tensors in itertools.product((True, False), repeat=count):
        tensors = iter(operands(sum(are_tensors)))
        if any(are_tensors):
            yield tuple(next(tensors) if is_tensor else 0.5 for is_tensor in are_tensors)


def functions() -> Iterator[tuple[str, Callable[..., Any], tuple[Any, ...]]]:
    """The pointwise functions of the homes with arguments."""
    known = torch.overrides.get_testing_overrides()
    listed = torch.overrides.get_overridable_functions()
    for home in HOMES:
        for function in listed[home]:
            if function not in known:
                continue
            parameters = inspect.signature(known[function]).parameters.values()
            required = sum(p.default is p.empty and p.kind <= 1 for p in parameters)
            if required <= 4:
                for arguments in choices(required):
                    if is_pointwise(function, arguments):
                        yield f"{home.__name__}.{function.__name__}", function, arguments
                        break


def overloads() -> Iterator[tuple[str, Callable[..., Any], tuple[Any, ...]]]:
    """The overloads of ATen that are tagged, and take floats, with arguments."""
    for overload in tagged():
        arguments = arguments_of(overload)
        if arguments is not None and result(overload, arguments) is not None:
            yield str(overload), overload, arguments


def tagged() -> Iterator[Any]:
    """The overloads of ATen that are tagged as pointwise."""
    for name in torch._C._dispatch_get_all_op_names():
        library, _, rest = name.partition("::")
        packet, _, form = rest.partition(".")
        if library != "aten" or "out" in form.lower() or form == "grad_input":
            continue
        overloads: Any = getattr(torch.ops.aten, packet, None)
        overload = getattr(overloads, form or "default", None)
        if overload is not None and torch.Tag.pointwise in overload.tags:
            yield overload


def arguments_of(overload: Any) -> tuple[Any, ...] | None:
    """Values of the required arguments; None where one is no tensor and no number."""
    required = [a for a in schema_arguments(overload) if not a.has_default_value()]
    kinds = [str(a.type) for a in required if not a.kwarg_only]
    tensors = iter(operands(kinds.count("Tensor")))
    numbers = {"number": 0.5, "Scalar": 0.5, "float": 0.5, "int": 1, "bool": True}
    if not {"Tensor"} <= {*kinds} <= {"Tensor", *numbers}:
        return None
    return tuple(numbers[kind] if kind in numbers else next(tensors) for kind in kinds)


def is_known(function: Callable[..., Any], arguments: tuple[Any, ...]) -> bool:
    """Whether a row takes a call, or a name refuses it."""
    if function in REFUSED_BY_NAME:
        return True
    graph = fx.Graph()
    nodes = [graph.placeholder("x") if isinstance(a, Tensor) else a for a in arguments]
    return lookup(graph.call_function(function, tuple(nodes))) is not None


@pytest.mark.parametrize("listed", [functions, overloads])
def test_every_pointwise_function_is_taken_or_refused_by_name(listed: Callable[[], Any]) -> None:
    found = [*listed()]
    unknown = [name for name, function, arguments in found if not is_known(function, arguments)]
    assert len(found) > 100, "the registry is not what it was: nothing is compared here"
    assert not unknown, f"neither taken nor refused by name: {', '.join(unknown)}"


def test_every_pointwise_operation_of_any_element_type_is_known() -> None:
    known = TABLE.keys() | REFUSED_BY_NAME.keys()
    found = {overload.overloadpacket for overload in tagged()}
    assert len(found) > 100, "the registry is not what it was: nothing is compared here"
    unknown = [str(packet) for packet in found if packet not in known]
    assert not unknown, f"neither taken nor refused by name: {', '.join(sorted(unknown))}"


def test_nothing_is_both_taken_and_refused() -> None:
    assert not {str(name) for name in TABLE.keys() & REFUSED_BY_NAME.keys()}
