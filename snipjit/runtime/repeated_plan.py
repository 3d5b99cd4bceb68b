"""RepeatedPlan: the plan of calls that are all alike, found without a look at each size.

To ask a tensor for its shape and strides takes 0.5 µs, and a look-up by all of them 0.4. Whether
they are as they were in the calls before PyTorch finds out in 0.3 µs for several tensors.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from snipjit.torch_private import layout_check

OFTEN, AGAIN = 4, 64
"""Calls in a row that have one plan until it is taken for repeated, and until it is so again, as
where other tensors of the same layout came that the check does not know."""

Repeated = tuple[Callable[..., bool], Any]
"""Whether tensors are as they were, and the plan that they had."""


def _never(*_: Any) -> bool:
    return False


class RepeatedPlan:
    """The plan of the latest calls. ``last`` holds one item, which is replaced as a whole.

    Threads that call at once may each replace it: what it holds belongs together at any time.
    """

    def __init__(self) -> None:
        self.last: list[Repeated] = [(_never, None)]
        self._plan: Any = None
        self._calls = 0

    def note(self, plan: Any, tensors: Sequence[Any]) -> None:
        """A plan that was looked up for tensors, as the check did not know them."""
        if plan is not self._plan:
            self._plan, self._calls = plan, 0
            return
        self._calls += 1
        if self._calls % AGAIN == OFTEN:
            self.last[0] = layout_check(tensors), plan
