"""A chain as text, for reading (``SNIPJIT_DUMP``)::

    chain of 4 launches in 3 phases, 3 colours
    %call = kernel_5d41(x = %x0, y = %x1; 0.25) : colour 0
    %view = transpose(%call, 0, 1)
    %call_1 = kernel_5d41(x = %call, y = %view; -1.5) : colour 1
    %call_2 = kernel_5d41(x = %call_1, y = %x0; 3.0) : colour 2
    & %call_3 = kernel_5d41(x = %call_1, y = %x0; 2.0) : leaves
    return %call_3

What begins with ``&`` does not wait for the launch before it: both are in one phase. A result that
is a part of a cat lies ``in %cat``, of which the line below says where that lies. A kernel's number
is made of what its structure was compiled from; of a colour, results of several launches have the
same memory one after another.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

from torch import fx

from snipjit.ir.text.dumps import Dumps
from snipjit.runtime.arena import Colouring
from snipjit.runtime.chain_script import Made, Member, Script, is_cat


def dump_chain(script: Script, colouring: Colouring) -> None:
    """Write it into a folder of its own below that of dumps, if they are on."""
    Dumps.begin("chain", "chain.txt", lambda: print_chain(script, colouring))


def print_chain(script: Script, colouring: Colouring) -> str:
    """The text of a chain."""
    return "\n".join(_lines(script, colouring)) + "\n"


def _lines(script: Script, colouring: Colouring) -> Iterator[str]:
    phases = len({*script.phases})
    yield f"chain of {len(script.members)} launches in {phases} phases, {colouring.count} colours"
    places = dict.fromkeys(script.leaving, "leaves")
    for made, colour in zip(script.inner, colouring.colours, strict=True):
        places[made] = f"colour {colour}"
    places |= {result: f"in {_operand(cat)}" for result, cat in script.cats.items()}
    members = {member.node: number for number, member in enumerate(script.members)}
    for node in script.body.nodes:
        if node in members:
            yield _launch(script, members[node], places)
        elif is_cat(node):
            parts, dim = node.args
            yield f"%{node.name} = cat({', '.join(map(_operand, parts))}; {dim}) : {places[node]}"
        elif node in script.views:
            name = str(getattr(node.target, "__name__", node.target))
            yield f"%{node.name} = {name}({', '.join(map(_operand, node.args))})"
        elif node.op == "output":
            yield f"return {', '.join(map(_operand, node.args[0]))}"


def _launch(script: Script, number: int, places: dict[Made, str]) -> str:
    member = script.members[number]
    interface = member.launcher.structure.interface
    results = [(number, part) for part in range(len(interface.outputs))]
    names = [script.nodes_of.get(result, [None])[0] for result in results]
    left = ", ".join("_" if name is None else _operand(name) for name in names)
    beside = "& " if script.beside[number] else ""
    return f"{beside}{left} = {_call(member)} : {', '.join(places[result] for result in results)}"


def _call(member: Member) -> str:
    structure = member.launcher.structure
    kernel = hashlib.sha256(structure.key.encode()).hexdigest()[:12]
    tensors = zip(structure.interface.inputs, member.tensors, strict=True)
    told = ", ".join(f"{spec.name} = {_operand(node)}" for spec, node in tensors)
    scalars = ", ".join(map(_operand, member.scalars))
    return f"kernel_{kernel}({told}{'; ' if scalars else ''}{scalars})"


def _operand(operand: Any) -> str:
    return f"%{operand.name}" if isinstance(operand, fx.Node) else str(operand)
