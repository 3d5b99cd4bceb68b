"""Shrinks a program: fewer lines, smaller sizes, as long as it is still wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from tests.fuzz.check import Case
from tests.fuzz.programs import Line, Program, Ref


def shrunk(case: Case, is_wrong: Callable[[Case], bool], most: int = 300) -> Case:
    """The smallest case found by taking lines and results away, of one size if it can be."""
    alone = replace(case, other=None)
    if case.other is not None and not is_wrong(alone):
        return case
    case = alone
    tried, changed = 0, True
    while changed and tried < most:
        changed = False
        for program in _smaller(case.program):
            tried += 1
            smaller = replace(case, program=program, other=None)
            if is_wrong(smaller):
                case, changed = smaller, True
                break
    return case


def _smaller(program: Program) -> Iterator[Program]:
    for name in program.results:
        if len(program.results) > 1:
            kept = tuple(other for other in program.results if other != name)
            yield replace(program, results=kept).pruned()
    for index, line in enumerate(program.lines):
        for name in line.reads():
            yield _without(program, index, name)
    if program.lines and program.results[0] == program.lines[-1].out:
        for name in program.lines[-1].reads():
            yield replace(program, results=(name, *program.results[1:])).pruned()


def _without(program: Program, index: int, name: str) -> Program:
    """The program with one line's value replaced by one that the line reads."""
    gone = program.lines[index].out

    def renamed(item: Any) -> Any:
        if isinstance(item, Ref):
            return Ref(name) if item.name == gone else item
        return type(item)(map(renamed, item)) if isinstance(item, tuple | list) else item

    lines = [
        Line(line.out, line.target, renamed(line.args), renamed(line.kwargs))
        for number, line in enumerate(program.lines)
        if number != index
    ]
    results = tuple(name if result == gone else result for result in program.results)
    return replace(program, lines=tuple(lines), results=results).pruned()
