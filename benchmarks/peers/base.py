"""What a peer is: a function that makes, for a row, the form that runs its inputs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from types import FunctionType

from torch import Tensor

from benchmarks.rows import Row
from benchmarks.sources import Form
from snipjit.cli.compare import interleaved_medians

Inputs = tuple[Tensor, ...]
Build = Callable[[Row, Inputs], Form]
"""Makes the form of a row. What depends on masks alone is prepared from these inputs."""


class Absent(Exception):
    """A contestant cannot run a row; the message says why."""


def own_code(form: Form) -> Form:
    """A copy of a function with a code object of its own: Dynamo keeps its caches with those."""
    assert isinstance(form, FunctionType)
    names, code = form.__globals__, form.__code__.replace()
    return FunctionType(code, names, form.__name__, form.__defaults__, form.__closure__)


def fastest(forms: Sequence[Form], inputs: Inputs, repeat: int = 5) -> Form:
    """The form with the shortest median time, after a call of each."""
    if len(forms) == 1:
        return forms[0]
    calls = [partial(form, *inputs) for form in forms]
    for call in calls:
        call()
    times = interleaved_medians(calls, repeat)
    return forms[times.index(min(times))]
