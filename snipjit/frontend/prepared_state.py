"""Weights that a program keeps in the order of kernels alone."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from torch import fx

from snipjit.runtime.kernel_cache import launchers
from snipjit.runtime.prepared_weights import Form


def keep_prepared(gm: fx.GraphModule, state: list[Any], written: Collection[int]) -> list[int]:
    """Put blocks in the place of weights that only kernels read, which want them so.

    ``state`` are the first inputs of the graph, ``written`` the numbers of those that it changes.
    What nothing reads, such as another name of a weight, is dropped. Returns the numbers of those
    that were replaced.
    """
    forms: Mapping[Any, Mapping[int, Form]]
    forms = {launcher.call: launcher.structure.forms for launcher in launchers()}
    inputs = [node for node in gm.graph.nodes if node.op == "placeholder"]
    replaced = []
    for number, node in enumerate(inputs[: len(state)]):
        if number in written:
            continue
        wanted = {form for user in node.users for form in _wanted(user, node, forms)}
        if len(wanted) == 1 and (form := wanted.pop()) is not None:
            state[number] = form(state[number])
        elif not node.users:
            state[number] = None
        else:
            continue
        replaced.append(number)
    return replaced


def _wanted(
    user: fx.Node, node: fx.Node, forms: Mapping[Any, Mapping[int, Form]]
) -> list[Form | None]:
    """The forms in which a node's arguments take a weight; None where it is read as it is."""
    own = forms.get(user.target, {}) if user.op == "call_function" else {}
    found = [own.get(place) for place, argument in enumerate(user.args) if argument is node]
    return found or [None]
