"""The rows of the op table: one meaning each, with every spelling of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F

from snipjit.torch_private import OPERATORS

Spelling = Callable[..., Any] | str


@dataclass(frozen=True)
class Row:
    """One meaning: the canonical op, its argument names, its spellings.

    A call with another argument is none of it, unless the op is one of ``READ_FROM_TRACE``.
    """

    op: str
    arguments: str
    names: str = ""
    functions: tuple[Spelling, ...] = ()

    def spellings(self) -> list[Spelling]:
        """Everything a node's target may be (method names as strings)."""
        found: list[Spelling] = list(self.functions)
        for name in self.names.split():
            for form in (name, f"{name}_"):
                found += spellings_of(form)
        return found


def spellings_of(name: str) -> list[Spelling]:
    """What a node's target may be where an op is called the same everywhere."""
    found: list[Spelling] = [name] if hasattr(torch.Tensor, name) else []
    found += [getattr(home, name) for home in (torch, F, torch.special) if hasattr(home, name)]
    for library in OPERATORS:
        packet = getattr(library, name, None)
        if packet is not None:
            forms = [form for form in packet.overloads() if "out" not in form]
            # Dynamo calls the packet itself for `x.mT`, from torch 2.14 on.
            found += [packet, *(getattr(packet, form) for form in forms)]
    return found
