"""What all drawn programs have in common: a source of numbers, inputs, lines and results."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any

from tests.fuzz.programs import Input, Line, Program, Ref

LENGTHS = (0, 1, 1, 2, 3, 5, 7, 9, 13, 17, 31, 33, 40)
NUMBERS = (0.125, 0.3, 1.7, 2.0, -0.5)
FLOATS = ("float32", "float32", "bfloat16", "float16")


@dataclass
class Drawing:
    """A program while it is drawn.

    ``few`` leaves out sizes of 0, which some tracers do not take; ``longer`` is added to lengths:
    what is drawn does not depend on it.
    """

    random: random.Random
    few: bool = False
    longer: int = 0
    inputs: list[Input] = field(default_factory=list)
    lines: list[Line] = field(default_factory=list)
    results: list[str] = field(default_factory=list)
    notes: set[str] = field(default_factory=set)
    dtype: str = "float32"

    def size(self) -> int:
        return int(self.pick(*(LENGTHS[1:] if self.few else LENGTHS)))

    def pick(self, *choices: Any) -> Any:
        return self.random.choice(choices)

    def chance(self, share: float) -> bool:
        return self.random.random() < share

    def call(self, target: str, *args: Any, **kwargs: Any) -> Ref:
        """A line, and the value it makes; the op is noted."""
        out = f"x{len(self.lines)}"
        self.lines.append(Line(out, target, args, tuple(kwargs.items())))
        self.notes.add(target)
        return Ref(out)

    def input(
        self,
        name: str,
        shape: tuple[int, ...],
        content: str = "normal",
        dtype: str = "",
        static: tuple[int, ...] | None = None,
    ) -> Ref:
        """A tensor; its last dim is static in every trace, or those that are said."""
        order = list(range(len(shape)))
        if self.chance(0.3):
            self.random.shuffle(order)
        found = f"{name}{len(self.inputs)}" if name in [i.name for i in self.inputs] else name
        static = (len(shape) - 1,) if static is None else static
        made = Input(found, shape, dtype or self.dtype, tuple(order), content, static)
        self.inputs.append(made)
        return Ref(found)

    def finished(self, **more: Any) -> Program:
        """The program; weights come first, so that they are equal whatever lengths follow."""
        inputs = sorted(self.inputs, key=lambda given: given.content != "weight")
        lines, results = tuple(self.lines), tuple(self.results)
        return Program(tuple(inputs), lines, results, frozenset(self.notes), **more)


def longer_by(lengths: set[int], others: set[int]) -> int | None:
    """How much longer lengths may be in another call of a dynamic trace; None if they may not.

    Sizes of 0 and 1 are constants of a trace, and equal sizes are one symbol.
    """
    taken = {*others, *lengths}
    longer = next(n for n in range(11, 199) if not {size + n for size in lengths} & taken)
    return longer if min(lengths) > 1 and not lengths & others else None
