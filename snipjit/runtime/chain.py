"""Chain: launches that follow one another, with nothing of PyTorch's between them, as one call.

A call looks up the plan of its sizes, as a launcher's does, tells the native half where inputs,
results and arena lie, and has it run all kernels (``chain_driver.py``). So Python is paid once, and
what no one else sees lies in an arena that is there from the call before (``arena.py``): it is
neither allocated nor touched for the first time. What leaves the chain are tensors of their own.

========================  ===========================================================
``chain_script.py``       what the body of a chain says, read once
``chain_walk.py``         the same with the sizes of a call
``chain_cats.py``         results that lie side by side in one tensor
``chain_plans.py``        a plan for each set of sizes, a few bytes for each launch
``repeated.py``           whether weights are laid out as in the calls before
``chain_frames.py``       the memory that a call fills in and the native half reads
``chain_path.py``         the Python source of a call
========================  ===========================================================

Where anything is out of the ordinary, launches run one by one as they would without a chain: at
sizes for which PyTorch's own nodes are better or an input is copied, while a profiler runs, which
then shows each of them, under forward-mode differentiation, and where an argument does not fit, of
which they say why. Where the chain has cats it is at such sizes the chains before and after them.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable, Sequence
from functools import cached_property, partial
from itertools import count
from typing import Any

import torch
from torch import fx

from snipjit.runtime.arena import ARENAS
from snipjit.runtime.call_path import compile_call
from snipjit.runtime.chain_driver import chain_many, chain_one
from snipjit.runtime.chain_path import source
from snipjit.runtime.chain_plans import BY_MEMBERS, ChainPlan, Planner
from snipjit.runtime.chain_script import IsWeight, LauncherOf, Script
from snipjit.runtime.host import LOCK
from snipjit.runtime.launcher import torch_dtype, with_equals
from snipjit.runtime.plans import Plans
from snipjit.runtime.repeated import Repeated
from snipjit.runtime.scratchpad import SCRATCHPADS, Scratchpads
from snipjit.runtime.threads import thread_count
from snipjit.torch_private import empty_strided, forward_ad, profiler


class Chain:
    """Calls the launches of a body. Safe to call from many threads, and from itself.

    ``call`` takes what the body takes, and returns a tuple as it does.
    """

    def __init__(
        self,
        body: fx.Graph,
        launcher_of: LauncherOf,
        is_weight: IsWeight = lambda node: False,
        scratchpads: Scratchpads = SCRATCHPADS,
        arenas: Scratchpads = ARENAS,
        empty: Callable[..., Any] = empty_strided,
        without_cats: Callable[[fx.Graph], Callable[..., Any]] | None = None,
    ) -> None:
        self.body, self.script = body, Script(body, launcher_of, is_weight)
        self._without_cats = without_cats
        self.planner = Planner(self.script)
        self._plans: Plans[tuple[Any, ...], ChainPlan] = Plans(self.planner.plan, with_equals)
        self._repeated = Repeated()
        self._calls = count()
        for launcher, times in Counter(member.launcher for member in self.script.members).items():
            launcher.count_in(self._calls, times)
        self.source = source(self.script)
        self.call = compile_call(self.source, self._names(scratchpads, arenas, empty))

    def by_members(self, *arguments: Any) -> Any:
        """The same as ``call`` in several calls."""
        return self._members(*arguments)

    @cached_property
    def _members(self) -> Callable[..., Any]:
        """The body as it stands, or with cats by PyTorch between other chains.

        Few chains ever need it, and to compile it takes as long as all else that makes one.
        """
        with LOCK:  # torch notes on a graph how its code is being written
            if self.script.cats and self._without_cats is not None:
                return self._without_cats(self.body)
            run: Callable[..., Any] = fx.GraphModule(torch.nn.Module(), self.body).forward
        return run

    def _names(self, scratchpads: Scratchpads, arenas: Scratchpads, empty: Any) -> dict[str, Any]:
        """What the call path reads."""
        script, many = self.script, chain_many()
        first = [script.results_in(made)[0] for made in script.leaving]
        specs = [
            script.members[member].launcher.structure.interface.outputs[part]
            for member, part in first
        ]
        return {
            **{f"d{i}": of.dtype for i, of in enumerate(script.given)},
            **{f"f{i}": of.form for i, of in enumerate(script.given)},
            **{f"e{i}": torch_dtype(spec) for i, spec in enumerate(specs)},
            "array": array,
            "by_members": self.by_members,
            "calls": self._calls,
            "empty": empty,
            "forward_ad": forward_ad,
            "give_arena": arenas.give,
            "give_scratch": scratchpads.give,
            "last": self._repeated.last,
            "are_of_types": partial(_are_of_types, [dtype for _, dtype in script.owned]),
            "layouts_of": self.planner.layouts_of,
            "make_plan": self._plans.find,
            "note": self._repeated.note,
            "one_by_one": BY_MEMBERS,
            "plans": self._plans.recent,
            "profiler": profiler,
            "run_many": many,
            "run_one": chain_one(),
            "take_arena": arenas.take,
            "take_scratch": scratchpads.take,
            "thread_count": thread_count if many else lambda: 1,
        }


def _are_of_types(types: Sequence[torch.dtype], weights: Sequence[torch.Tensor]) -> bool:
    """Whether weights are tensors on the CPU of these element types."""
    return all(w.dtype is type and w.is_cpu for w, type in zip(weights, types, strict=True))
