"""A walk through a chain with the sizes of one call: the plan of each launch, where its inputs lie.

Sizes and strides go through the chain as through PyTorch, in tensors without memory (``meta``):
views are PyTorch's own, and what turns out to be a copy there, such as a ``reshape``, is no view.
Results that lie in a cat get their strides from it at the end (``chain_cats.py``).
"""

from __future__ import annotations

from typing import Any, NamedTuple, cast

import torch
from torch import fx

from snipjit.runtime.chain_cats import Operand, laid_out, run
from snipjit.runtime.chain_script import Made, Member, Result, Script, is_cat
from snipjit.runtime.interface import Ints
from snipjit.runtime.launcher import BY_NODES, Plan, torch_dtype
from snipjit.torch_private import storage_identity


class NotInOneError(Exception):
    """Sizes at which launches run one by one."""


class Source(NamedTuple):
    """Where a tensor lies: the number of a given one or what is made, and bytes from there."""

    root: int | Made
    offset: int


class Layout(NamedTuple):
    """Of what is made; strides in elements."""

    shape: Ints
    strides: Ints
    dtype: torch.dtype

    @property
    def bytes(self) -> int:
        """From its first to behind its last element."""
        steps = ((size - 1) * stride for size, stride in zip(self.shape, self.strides, strict=True))
        return (1 + sum(steps)) * self.dtype.itemsize if 0 not in self.shape else 0


class Walk:
    """What a key comes to: shape and strides of each given input, then what views are told.

    plans    of each launch, as its launcher has it
    sources  of each launch, where each input lies
    made     the layout of each result and cat
    """

    def __init__(self, script: Script, key: tuple[Any, ...]) -> None:
        self.plans: list[Plan] = []
        self.sources: list[list[Source]] = []
        self.made: dict[Made, Layout] = {}
        self._script = script
        self._keys: list[tuple[Ints, ...]] = []
        self._parts: dict[Result, tuple[Source, Ints]] = {}
        self._roots: dict[int, int | Made] = {}
        self._known: dict[fx.Node, Any] = {}
        self._given: dict[tuple[int, Any], tuple[int, Ints, Ints]] = {}
        self._enter(key)
        launches = {member.node: member for member in script.members}
        for node in script.body.nodes:
            if node in launches:
                self._launch(launches[node])
            elif is_cat(node):
                self._cat(node)
            elif node in script.views:
                self._known[node] = run(node, self._known)
        for number, member in enumerate(script.members):
            self._place(number, member)

    def written(self, result: Result) -> Source:
        """Where a result lies."""
        return self._parts[result][0] if result in self._parts else Source(result, 0)

    def _enter(self, key: tuple[Any, ...]) -> None:
        """Note what the call brings."""
        nodes = list(self._script.arguments)
        for number, given in enumerate(self._script.given):
            shape, strides = key[2 * number : 2 * number + 2]
            self._given[given.number, given.form] = number, shape, strides
            if given.form is None:
                self._hold(nodes[given.number], number, Layout(shape, strides, given.dtype))
        told = key[2 * len(self._script.given) :]
        self._known.update(zip((nodes[n] for n in self._script.told), told, strict=True))

    def _hold(self, node: fx.Node, root: int | Made, layout: Layout) -> None:
        shape, strides, dtype = layout
        held = torch.empty_strided(shape, strides, dtype=dtype, device="meta")
        self._known[node], self._roots[storage_identity(held)] = held, root

    def _launch(self, member: Member) -> None:
        number, interface = len(self.plans), member.launcher.structure.interface
        key: list[Ints] = []
        sources: list[Source] = []
        for place, spec in enumerate(interface.inputs):
            source, shape, strides = self._input(member, place, torch_dtype(spec))
            key += shape, strides
            sources.append(source)
        plan = member.launcher.plan(tuple(key))
        if plan is BY_NODES or plan[3]:  # or it copies an input
            raise NotInOneError
        self.plans.append(plan)
        self.sources.append(sources)
        self._keys.append(tuple(key))
        for part, spec in enumerate(interface.outputs):
            shape, strides = plan[7 + 2 * part : 9 + 2 * part]
            layout = self.made[number, part] = Layout(shape, strides, torch_dtype(spec))
            for node in self._script.nodes_of.get((number, part), []):
                self._hold(node, (number, part), layout)

    def _input(self, member: Member, place: int, dtype: torch.dtype) -> tuple[Source, Ints, Ints]:
        """Where an input of a launch lies, and how."""
        node = member.tensors[place]
        form = member.launcher.structure.forms.get(place)
        if form is not None:
            number, shape, strides = self._given[self._script.arguments[node], form]
            return Source(number, 0), shape, strides
        held = self._known[node]
        root = self._roots.get(storage_identity(held))
        if root is None or held.dtype is not dtype:
            raise NotInOneError
        offset = held.storage_offset() * held.dtype.itemsize
        return Source(root, offset), tuple(held.shape), held.stride()

    def _cat(self, node: fx.Node) -> None:
        """Lay out a cat, and in it the results that it is made of."""
        operands, dim = cast("tuple[Any, int]", node.args)
        roots = [self._script.root(operand) for operand in operands]
        made = [Operand(*of, self._known) for of in zip(operands, roots, strict=True)]
        found = laid_out(made, dim, as_pytorch=node in self._script.leaving)
        if found is None:
            raise NotInOneError
        whole, parts = found
        layout = Layout(tuple(whole.shape), whole.stride(), whole.dtype)
        self.made[node] = layout
        self._hold(node, node, layout)
        for root, (offset, strides) in zip(roots, parts, strict=True):
            result: Any = self._script.made[root]
            self._parts[result] = Source(node, offset * whole.itemsize), strides

    def _place(self, number: int, member: Member) -> None:
        """Plan a launch anew if results of it lie in a cat."""
        parts = range(len(member.launcher.structure.interface.outputs))
        strides = {
            part: self._parts[number, part][1] for part in parts if (number, part) in self._parts
        }
        if strides:
            self.plans[number] = member.launcher.plan_into(self._keys[number], strides)
