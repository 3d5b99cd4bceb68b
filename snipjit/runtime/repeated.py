"""Repeated: what was found for the tensors of the latest calls, found without a look at each size.

To ask a tensor for its shape and strides takes 0.5 µs, and a look-up by all of them 0.4. Whether
they are as they were in the calls before PyTorch finds out in 0.3 µs for several tensors. So a
launcher finds its plan (``call_path.py``), and a chain the layouts of its weights
(``chain_path.py``).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from snipjit.torch_private import layout_check

OFTEN, AGAIN = 4, 64
"""Calls in a row that find one thing until it is taken for repeated, and until it is so again, as
where other tensors of the same layout came that the check does not know."""

Last = tuple[Callable[..., bool], Any]
"""Whether tensors are as they were, and what was found for them."""


def _never(*_: Any) -> bool:
    return False


class Repeated:
    """What the latest calls found. ``last`` holds one item, which is replaced as a whole.

    Threads that call at once may each replace it: what it holds belongs together at any time.
    """

    def __init__(self) -> None:
        self.last: list[Last] = [(_never, None)]
        self._found: Any = None
        self._calls = 0

    def note(self, found: Any, tensors: Sequence[Any]) -> None:
        """What was looked up for tensors, as the check did not know them."""
        if found is not self._found:
            self._found, self._calls = found, 0
            return
        self._calls += 1
        if self._calls % AGAIN == OFTEN:
            self.last[0] = layout_check(tensors), found
