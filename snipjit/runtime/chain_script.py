"""The script of a chain: which kernels run in which order on which memory, read from its body once.

A *root* is memory that the kernels of a chain are told of: an input of the chain (of a weight that
is prepared, its blocks), a result that leaves it, or a colour of the arena. Each tensor that a
kernel reads is a root or a view of one. Results that a body puts together by ``torch.cat`` have no
memory of their own: they lie in the cat's, side by side.

A *phase* are up to four launches one after another of which none reads what another makes: threads
that have no more to do in one go on to the next, without waiting for all others.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import fx

from snipjit.runtime.arena import Life
from snipjit.runtime.launcher import Launcher, torch_dtype
from snipjit.runtime.prepared_weights import Form

LauncherOf = Callable[[fx.Node], Launcher | None]

IsWeight = Callable[[fx.Node], bool]
"""Whether an argument is the module's own, such as a parameter, and the same in most calls."""

Result = tuple[int, int]
"""A launch and the number of a result of it."""

MOST_BESIDE = 4
"""Launches of one phase: each has a scratchpad of its own."""

Made = Result | fx.Node
"""What has memory of its own: a result, or a cat of several."""


class Given(NamedTuple):
    """An input that kernels read: the number of the argument, its form, and its element type."""

    number: int
    form: Form | None
    dtype: torch.dtype


@dataclass(frozen=True)
class Member:
    """One launch: its inputs, and its scalars, which are nodes or numbers."""

    node: fx.Node
    launcher: Launcher
    tensors: tuple[fx.Node, ...]
    scalars: tuple[Any, ...]

    @staticmethod
    def of(node: fx.Node, launcher: Launcher) -> Member:
        """The launch of a node."""
        tensors = len(launcher.structure.interface.inputs)
        args: tuple[Any, ...] = node.args
        return Member(node, launcher, args[:tensors], args[tensors:])


class Script:
    """What a body says.

    arguments  of the chain, by number
    members    launches in order
    made       what launches make and cats, by node; ``nodes_of`` the other way around
    cats       where results lie that have no memory of their own
    given      inputs that kernels read, each in each of its forms; the first are ``weights``
    owned      the arguments that are weights, with their element types
    numbers    scalars, each once: arguments, or numbers
    told       arguments that views are told, such as sizes
    leaving    what the chain returns; ``returned`` are their places there
    inner      all else that has memory
    phases     the phase of each launch
    """

    def __init__(self, body: fx.Graph, launcher_of: LauncherOf, is_weight: IsWeight) -> None:
        self.body = body
        nodes = list(body.nodes)
        self.arguments = {n: i for i, n in enumerate(n for n in nodes if n.op == "placeholder")}
        self.members = [Member.of(n, of) for n in nodes if (of := launcher_of(n)) is not None]
        self.made: dict[fx.Node, Made] = {**self._made(), **{n: n for n in nodes if is_cat(n)}}
        launches = {member.node for member in self.members}
        plain = {*self.arguments, *self.made, *launches}
        self.views = {n for n in nodes if n not in plain and n.op != "output"}
        own = {number for node, number in self.arguments.items() if is_weight(node)}
        self.given = sorted(self._given(), key=lambda given: given.number not in own)
        self.weights = [given for given in self.given if given.number in own]
        self.owned = list(dict.fromkeys((given.number, given.dtype) for given in self.weights))
        self.numbers = self._numbers()
        told = (of for view in self.views for of in view.all_input_nodes[1:])
        self.told = sorted({self.arguments[of] for of in told if of in self.arguments})
        self.nodes_of: dict[Made, list[fx.Node]] = {}
        for node, made in self.made.items():
            self.nodes_of.setdefault(made, []).append(node)
        self.cats = {
            self.made[self.root(operand)]: node
            for node in self.made
            if is_cat(node)
            for operand in node.all_input_nodes
        }
        (output,) = [node for node in nodes if node.op == "output"]
        results: Any = output.args[0]
        self.leaving = list(dict.fromkeys(self.made[node] for node in results))
        self.returned = [self.leaving.index(self.made[node]) for node in results]
        held = dict.fromkeys(map(self.held, self._results()))
        self.inner = [made for made in held if made not in self.leaving]
        self.phases = self._phases()

    @property
    def is_plain(self) -> bool:
        """Whether scalars are arguments, and what is prepared is: else launches run one by one."""
        scalars = all(not isinstance(n, fx.Node) or n in self.arguments for n in self.numbers)
        return scalars and all(
            member.tensors[place] in self.arguments
            for member in self.members
            for place in member.launcher.structure.forms
        )

    @property
    def loads_by_index(self) -> bool:
        """Whether a kernel may find an index that is out of range."""
        return any(member.launcher.structure.interface.gathered for member in self.members)

    def held(self, result: Result) -> Made:
        """What a result lies in: a cat or itself."""
        return self.cats.get(result, result)

    def results_in(self, made: Made) -> list[Result]:
        """The results that lie in what has memory, in the order in which they are made."""
        return [result for result in self._results() if self.held(result) == made]

    @property
    def beside(self) -> list[int]:
        """How many launches of its phase are before each."""
        return [number - self.phases.index(phase) for number, phase in enumerate(self.phases)]

    def lives(self) -> list[Life]:
        """The phases in which each of ``inner`` is made and last read."""
        used: dict[Made, list[int]] = {}
        for phase, member in zip(self.phases, self.members, strict=True):
            for made in self._read_by(member):
                used.setdefault(made, []).append(phase)
        for result in self._results():
            used.setdefault(self.held(result), []).append(self.phases[result[0]])
        return [Life(min(used[made]), max(used[made])) for made in self.inner]

    def root(self, node: fx.Node) -> fx.Node:
        """What a node is a view of: an argument or a result."""
        while node not in self.arguments and node not in self.made:
            node = node.all_input_nodes[0]
        return node

    def _phases(self) -> list[int]:
        phases: list[int] = []
        for member in self.members:
            phase = phases[-1] if phases else 0
            makers = (launch for made in self._read_by(member) for launch in self._makers(made))
            full = phases[-MOST_BESIDE:] == [phase] * MOST_BESIDE
            waits = full or any(phases[launch] == phase for launch in makers)
            phases.append(phase + waits)
        return phases

    def _makers(self, made: Made) -> list[int]:
        """The launches that write to what has memory."""
        results = self.results_in(made) if isinstance(made, fx.Node) else [made]
        return [launch for launch, _ in results]

    def _read_by(self, member: Member) -> list[Made]:
        """The results and cats that a launch reads, or views of them."""
        roots = map(self.root, member.tensors)
        return [self.made[root] for root in roots if root in self.made]

    def _results(self) -> list[Result]:
        return [
            (number, place)
            for number, member in enumerate(self.members)
            for place in range(len(member.launcher.structure.interface.outputs))
        ]

    def _made(self) -> dict[fx.Node, Result]:
        found: dict[fx.Node, Result] = {}
        for number, member in enumerate(self.members):
            if len(member.launcher.structure.interface.outputs) == 1:
                found[member.node] = number, 0
            else:
                parts = ((user, user.args[1]) for user in member.node.users)
                found.update({user: (number, part) for user, part in parts if type(part) is int})
        return found

    def _given(self) -> list[Given]:
        found: dict[Given, None] = {}
        for member in self.members:
            specs, forms = (
                member.launcher.structure.interface.inputs,
                member.launcher.structure.forms,
            )
            for place, (node, spec) in enumerate(zip(member.tensors, specs, strict=True)):
                if (root := self.root(node)) in self.arguments:
                    given = Given(self.arguments[root], forms.get(place), torch_dtype(spec))
                    found[given] = None
        return list(found)

    def _numbers(self) -> list[Any]:
        found: dict[Any, Any] = {}
        for number in (number for member in self.members for number in member.scalars):
            found[number_key(number)] = number
        return list(found.values())


def is_cat(node: fx.Node) -> bool:
    """Whether a node of a body is a cat of results: ``torch.cat(operands, dim)``."""
    return node.target is torch.cat


def number_key(number: Any) -> Any:
    """What equal scalars have in common; 0 and -0 are two."""
    return number if isinstance(number, fx.Node) else repr(float(number))
