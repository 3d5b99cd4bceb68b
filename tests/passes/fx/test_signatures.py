"""Every spelling of the op table: arguments by position, by keyword, left out, against eager.

The signatures are torch's own: of Python functions, of ATen's schemas; a builtin function and a
method have those of the ATen operations of their name.
"""

from __future__ import annotations

import inspect
import operator
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, fx

from snipjit.passes.fx.lift.expand_elementwise import is_elementwise
from snipjit.passes.fx.lift.translate_reductions import REDUCTIONS, SOFTMAXES
from snipjit.passes.fx.nodes.calls import ALIASES
from snipjit.passes.fx.nodes.op_row import Row, Spelling
from snipjit.passes.fx.nodes.op_table import ROWS
from snipjit.torch_private import OpOverload
from tests.passes.fx.support import Capture, assert_equal_to_eager
from tests.traces import Trace

OPS = [
    row
    for row in ROWS
    if is_elementwise(row.op) or row.op in REDUCTIONS or row.op in SOFTMAXES or row.op == "dropout"
]

generator = torch.Generator().manual_seed(0)
Q, K, V = (torch.randn(2, 5, 8, generator=generator) for _ in range(3))
ONE, TWO = torch.rand(5, 5, generator=generator) + 0.6, torch.rand(5, 5, generator=generator) + 0.2
SCORES = "scores"
"""Stands for the value of the chain."""

VALUES: dict[str, tuple[Any, ...]] = {
    "other": (ONE, 0.7),
    "alpha": (1.7,),
    "rounding_mode": ("floor",),
    "exponent": (ONE, 3.0),
    "decimals": (1,),
    "inplace": (True,),
    "negative_slope": (0.3,),
    "approximate": ("tanh",),
    "min": (-0.4, ONE - 1.2),
    "max": (0.3, ONE),
    "lower": (-0.4,),
    "upper": (0.3,),
    "threshold": (0.25,),
    "lambd": (0.3,),
    "eps": (0.1,),
    "value": (1.3,),
    "mask": (ONE > 1.1,),
    "condition": (ONE > 1.1,),
    "tensor1": (ONE,),
    "tensor2": (TWO,),
    "end": (ONE,),
    "weight": (0.4, TWO),
    "nan": (0.5,),
    "posinf": (2.0,),
    "neginf": (-2.0,),
    "beta": (1.9,),
    "dim": (-1,),
    "keepdim": (True,),
    "dtype": (torch.float32,),
    "_stacklevel": (3,),
    "half_to_float": (False,),
    "scale": (0.37,),
    "zero_point": (2,),
    "quant_min": (-3,),
    "quant_max": (4,),
    "p": (0.0,),
    "training": (False,),
    "input_scale": (1.3,),
    "rtol": (0.1,),
    "atol": (0.2,),
    "equal_nan": (True,),
}
"""By name of the row: other values than the default."""

TENSORS = {
    ("prelu", "weight"): torch.full((1,), 0.3),
    ("prelu_kernel", "weight"): torch.full((1,), 0.3),
    ("heaviside", "values"): ONE,
    **{(op, "other"): ONE for op in ("fmax", "fmin", "hypot", "isclose", "logaddexp2")},
}
"""By row and name: what is no number."""

OWN_SIGNATURES = {
    "rdiv": ("self", "other"),
    "where_method": ("self", "condition", "other"),
}
"""Of what ATen has no operation for."""

REFUSED = {"div": "rounding_mode", "round": "decimals"}
"""What is refused with one of its arguments."""

REFUSED_WITHOUT = dict.fromkeys(("softmax", "softmin", "log_softmax"), "dim") | {"dropout": "p"}
"""What is refused without one: a dim that depends on the rank, dropout that is on."""


COMPARISONS = ("eq", "ne", "lt", "le", "gt", "ge")
LOGIC = ("and", "or", "xor", "not")


@dataclass(frozen=True)
class Form:
    """One way to call a spelling."""

    row: Row
    target: Spelling
    args: tuple[Any, ...]
    kwargs: dict[str, Any]

    def __str__(self) -> str:
        target = self.target
        name = f"Tensor.{target}" if isinstance(target, str) else str(target)
        args = [str(_short(value)) for value in self.args]
        args += [f"{key}={_short(value)}" for key, value in self.kwargs.items()]
        return f"{name}({', '.join(args)})"


def _short(value: Any) -> Any:
    return f"tensor {float(value.flatten()[0]):.3}" if isinstance(value, Tensor) else value


def signatures(row: Row, target: Spelling) -> list[list[inspect.Parameter]]:
    """The parameters of each signature that a spelling may have."""
    if row.op in OWN_SIGNATURES:
        either = inspect.Parameter.POSITIONAL_OR_KEYWORD
        return [[inspect.Parameter(name, either) for name in OWN_SIGNATURES[row.op]]]
    if isinstance(target, OpOverload):
        return [_of_schema(target)]
    try:
        return [list(inspect.signature(target).parameters.values())]  # type: ignore[arg-type]
    except (TypeError, ValueError):
        pass
    name = target if isinstance(target, str) else getattr(target, "__name__", "")
    packets = [getattr(torch.ops.aten, of, None) for of in (name, name.strip("_"), f"{name}_")]
    overloads = [
        getattr(p, o) for p in packets if p and hasattr(p, "overloads") for o in p.overloads()
    ]
    return [_of_schema(o) for o in overloads if not o._schema.is_mutable or name.endswith("_")]


def _of_schema(overload: Any) -> list[inspect.Parameter]:
    return [
        inspect.Parameter(
            argument.name,
            inspect.Parameter.KEYWORD_ONLY
            if argument.kwarg_only
            else inspect.Parameter.POSITIONAL_OR_KEYWORD,
            default=argument.default_value if argument.has_default_value() else inspect._empty,
        )
        for argument in overload._schema.arguments
        if argument.name != "out"
    ]


def is_sensible(form: Form) -> bool:
    """What models can write: no keywords of prims; no truth values put into floats in place."""
    target = form.target
    name = target if isinstance(target, str) else str(getattr(target, "__name__", ""))
    in_place = name.split(".")[0].endswith("_") and not name.split(".")[0].endswith("__")
    if form.row.op in COMPARISONS and in_place:
        return False
    return not (form.kwargs and str(target).startswith("prims."))


def forms(row: Row, target: Spelling) -> Iterator[Form]:
    """By position, by keyword, and with only what is required, for two values each."""
    for parameters in signatures(row, target):
        for choice in (0, -1):
            given = [_value(row, parameter.name, choice) for parameter in parameters]
            pairs = list(zip(parameters, given, strict=True))
            known = [(p, v) for p, v in pairs if v is not None]
            required = [(p, v) for p, v in known if p.default is inspect._empty]
            for chosen in (known, required):
                yield _form(row, target, chosen, keywords=False)
                yield _form(row, target, chosen, keywords=True)


def _value(row: Row, name: str, choice: int) -> Any:
    own = name if name in row.arguments.split() else ALIASES.get(name, name)
    first = "condition" if row.op == "where" else row.arguments.split()[0]
    if (row.op, own) in TENSORS:
        return TENSORS[row.op, own]
    if row.op in LOGIC and own == "other":
        return ONE > 1.1
    if own in ("input", "a", "x") and (first == "input" or row.op == "where"):
        return SCORES
    return VALUES[own][choice] if own in VALUES else None


def _form(row: Row, target: Spelling, chosen: list[Any], keywords: bool) -> Form:
    args: list[Any] = []
    kwargs: dict[str, Any] = {}
    for number, (parameter, value) in enumerate(chosen):
        by_name = parameter.kind is inspect.Parameter.KEYWORD_ONLY or (keywords and number > 0)
        if by_name:
            kwargs[parameter.name] = value
        else:
            args.append(value)
    return Form(row, target, tuple(args), kwargs)


def capture(form: Form) -> Capture | None:
    """``softmax(f(q kᵀ)) v``; None where torch itself does not take the call."""
    trace = Trace()
    q, k, v = (trace.input(tensor) for tensor in (Q, K, V))
    given = (*form.args, *form.kwargs.values())
    others = {id(value): trace.input(value) for value in given if isinstance(value, Tensor)}
    scores = trace("mul", trace(torch.matmul, q, trace("transpose", k, 1, 2)), 1.0)

    value_of_chain = trace("gt", scores, 0.0) if form.row.op in LOGIC else scores

    def argument(value: Any) -> Any:
        chain = isinstance(value, str) and value == SCORES
        return value_of_chain if chain else others.get(id(value), value)

    args = [argument(value) for value in form.args]
    kwargs = {name: argument(value) for name, value in form.kwargs.items()}
    try:
        found = trace(form.target, *args, **kwargs)
    except (RuntimeError, TypeError, ValueError, LookupError, AttributeError):
        return None
    value = found.meta["example_value"]
    if isinstance(value, tuple):
        found = trace(operator.getitem, found, 0)
        value = found.meta["example_value"]
    if not isinstance(value, Tensor) or value.dtype not in (torch.float32, torch.bool):
        return None
    result = _as_scores(trace, scores, found, value)
    if result is None:
        return None
    weights = trace(torch.softmax, result, -1)
    gm = trace.module(trace(torch.matmul, weights, v))
    return Capture(gm, tuple(trace.inputs))


def _as_scores(trace: Trace, scores: fx.Node, found: fx.Node, value: Tensor) -> fx.Node | None:
    """A value of the shape of the scores that depends on what was found."""
    if value.dtype == torch.bool:
        return trace("masked_fill", scores, found, 0.3)
    if value.dim() == 2:
        found = trace("unsqueeze", found, -1)
        value = found.meta["example_value"]
    if value.dim() != 3:
        return None
    return found if value.shape == (2, 5, 5) else trace("sub", scores, found)


@pytest.mark.parametrize("row", OPS, ids=[f"{number}-{row.op}" for number, row in enumerate(OPS)])
def test_every_form_means_what_eager_does(row: Row) -> None:
    wrong: list[str] = []
    called = 0
    every = {str(form): form for target in row.spellings() for form in forms(row, target)}
    for form in filter(is_sensible, every.values()):
        found = capture(form)
        if found is None:
            continue
        called += 1
        wrong += _problems(form, found)
    assert called
    assert not wrong, "\n".join(wrong)


def _problems(form: Form, found: Capture) -> list[str]:
    """What is not as in eager, or refused though it could be taken."""
    names = form.row.arguments.split()[: len(form.args)]
    names += [ALIASES.get(name, name) for name in form.kwargs]
    refused = REFUSED.get(form.row.op) in names
    refused |= (absent := REFUSED_WITHOUT.get(form.row.op)) is not None and absent not in names
    if not found.tokens.candidates:
        reasons = [refusal.reason for refusal in found.tokens.refusals]
        return [] if refused else [f"{form} is refused: {reasons}"]
    try:
        assert_equal_to_eager(found)
    except AssertionError as error:
        return [f"{form} is wrong: {str(error)[:200]}"]
    return [f"{form} is taken"] if refused else []
