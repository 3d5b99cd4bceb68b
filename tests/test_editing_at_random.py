"""Random edits of the printed LinearIR: an edit is refused, or the kernel does what it says."""

from __future__ import annotations

import difflib
import random
import re
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import pytest
import torch

from snipjit.errors import ParseError, VerificationError
from snipjit.ir.element_types import Array
from snipjit.ir.expression import Expression
from snipjit.ir.interpret.linear import interpret
from snipjit.ir.linear_ir import LinearIR, Loop, Statement
from snipjit.ir.operations import ELEMENTWISE
from snipjit.ir.tensors import Buffer
from snipjit.ir.text.linear import print_linear
from snipjit.ir.text.parse_linear import parse_linear
from snipjit.ir.verify.linear import verify
from snipjit.runtime.launcher import Launcher
from snipjit.runtime.scratchpad import Scratchpads
from tests import kernels
from tests.guard import guarded, guarded_empty, guarded_scratch, survives
from tests.kernels import SMALL, natives_first
from tests.linear_examples import EXAMPLES, axis_sizes, canonical, final, random_tensors

SIZES = ((5, 9), (13, 21))
BYTES = {"f32": 4, "i1": 1, "i32": 4}
NUMPY = {"i1": np.bool_, "i8": np.int8}
Call = tuple[list[Array], list[float]]


def calls(example: str) -> list[Call]:
    """Inputs in single precision, or integers, for a few sizes."""
    subgraph, made = canonical(example), []
    for seed, (rows, columns) in enumerate(SIZES):
        tensors = random_tensors(subgraph, axis_sizes(subgraph, rows, columns, 3), seed)
        types = [NUMPY.get(parameter.type.dtype, np.float32) for parameter in subgraph.parameters]
        single: list[Array] = [t.astype(dtype) for t, dtype in zip(tensors, types, strict=True)]
        made.append((single, [0.3 + 0.1 * i for i in range(len(subgraph.scalars))]))
    return made


def assert_agree(run: Launcher, lir: LinearIR, call: Call) -> None:
    """Kernel and interpreter give the same, within what rounding does to the interpreter."""
    tensors, scalars = call
    between = [guarded(torch.from_numpy(tensor)) for tensor in tensors]
    results = kernels.results(run, between, scalars)
    exact, rounded = (interpret(lir, tensors, scalars, dtype) for dtype in (np.float64, np.float32))
    for got, want, near in zip(results, exact, rounded, strict=True):
        finite = np.isfinite(want) & np.isfinite(near)
        size = np.abs(want[finite]).max(initial=1.0)
        error = np.abs(want[finite] - near[finite]).max(initial=0.0)
        if size < 1e12:
            atol = 5e-5 * size + 20 * error
            np.testing.assert_allclose(got[finite], want[finite], rtol=5e-5, atol=atol)
            np.testing.assert_array_equal(np.isnan(got), np.isnan(want))


def guarded_launcher(lir: LinearIR, target: str) -> Launcher:
    """A kernel whose outputs and scratchpad lie between guard pages."""
    kernel = kernels.launcher_of(lir, SMALL[target]).structure
    return Launcher(kernel, Scratchpads(guarded_scratch()), guarded_empty())


# The order of independent expressions


@pytest.mark.parametrize("target", natives_first(SMALL))
def test_the_order_of_independent_expressions_is_free(target: str) -> None:
    draw = random.Random(0)
    for example in draw.sample(EXAMPLES, 6):
        lir = final(example, SMALL[target])
        before = print_linear(lir)
        lir.body = shuffled(lir, lir.body, draw)
        assert print_linear(lir) != before
        verify(lir, final=True)
        run = guarded_launcher(parse_linear(print_linear(lir)), target)
        for call in calls(example):
            assert_agree(run, lir, call)


def shuffled(lir: LinearIR, body: Sequence[Statement], draw: random.Random) -> list[Statement]:
    """The expressions between two loops in any order that their operands allow."""
    result: list[Statement] = []
    run: list[Expression] = []
    for statement in body:
        if isinstance(statement, Expression):
            run.append(statement)
            continue
        result += _any_order(lir, run, draw)
        run = []
        result.append(statement)
        if isinstance(statement, Loop):
            for piece in statement.pieces:
                piece.body = shuffled(lir, piece.body, draw)
    return result + _any_order(lir, run, draw)


def _any_order(lir: LinearIR, run: list[Expression], draw: random.Random) -> list[Statement]:
    rest, result = list(run), list[Statement]()
    while rest:
        ready = [e for i, e in enumerate(rest) if not any(_tied(lir, f, e) for f in rest[:i])]
        chosen = draw.choice(ready)
        result.append(chosen)
        rest = [e for e in rest if e is not chosen]
    return result


def _tied(lir: LinearIR, one: Expression, two: Expression) -> bool:
    """Whether the two share a register or memory, which one of them writes."""
    for writer, other in ((one, two), (two, one)):
        if writer.output is not None and writer.output in (other.output, *other.inputs):
            return True
        moves = writer.op == "store" and other.op in ("load", "store")
        if moves and _overlap(lir, writer.inputs[0], other.inputs[0]):
            return True
    return False


def _overlap(lir: LinearIR, one: str, two: str) -> bool:
    buffers = lir.buffers()
    if one not in buffers or two not in buffers:
        return one == two
    first, second = _bytes(buffers[one]), _bytes(buffers[two])
    return first.start < second.stop and second.start < first.stop


def _bytes(buffer: Buffer) -> range:
    start = buffer.offset or 0
    return range(start, start + buffer.elements * buffer.element.bytes)


# Mutations of the text


def test_mutations_are_refused_or_computed() -> None:
    """Nothing that the verifier accepts crashes, or differs from what the text says."""
    target = "portable"
    draw, accepted = random.Random(3), 0
    for _ in range(80):
        example = draw.choice(EXAMPLES)
        lines = print_linear(final(example, SMALL[target])).splitlines()
        mutated = mutate(lines, draw)
        try:
            lir = parse_linear("\n".join(mutated))
            verify(lir, final=True)
        except (ParseError, VerificationError):
            continue
        accepted += mutated != lines
        if mutated != lines:
            changes = "\n".join(difflib.unified_diff(lines, mutated, example, n=1, lineterm=""))
            assert survives(partial(_run, lir, target, example)), changes
    assert accepted > 5


def _run(lir: LinearIR, target: str, example: str) -> None:
    torch.set_num_threads(1)  # a forked child has none of the parent's threads
    run = guarded_launcher(lir, target)
    for call in calls(example):
        assert_agree(run, lir, call)


def mutate(lines: list[str], draw: random.Random) -> list[str]:
    """The text with one line changed, moved, repeated or left out."""
    body = [i for i, line in enumerate(lines) if line.startswith((" ", "parallel"))]
    at = draw.choice(body)
    change: Callable[[str, list[str], random.Random], list[str]] = draw.choice(
        [_number, _operand, _function, _rewind, _masked, _repeated, _dropped]
    )
    if draw.random() < 0.25:  # move the line
        rest = lines[:at] + lines[at + 1 :]
        to = draw.choice(body)
        return [*rest[:to], lines[at], *rest[to:]]
    return lines[:at] + change(lines[at], lines, draw) + lines[at + 1 :]


def _number(line: str, lines: list[str], draw: random.Random) -> list[str]:
    found = list(re.finditer(r"(?<=[ :])\d+(?=[ \]])", line))
    if not found:
        return [line]
    match = draw.choice(found)
    number = int(match.group())
    other = draw.choice([number * 2, number // 2, number + 4, max(number - 4, 0), 1, 8])
    return [line[: match.start()] + str(other) + line[match.end() :]]


def _operand(line: str, lines: list[str], draw: random.Random) -> list[str]:
    names = sorted({name for other in lines for name in re.findall(r"%[\w.]+", other)})
    found = list(re.finditer(r"%[\w.]+", line))
    if not found:
        return [line]
    match = draw.choice(found)
    return [line[: match.start()] + draw.choice(names) + line[match.end() :]]


def _function(line: str, lines: list[str], draw: random.Random) -> list[str]:
    match = re.search(r"= (\w+)((?: %[\w.]+)+) :", line)
    if match is None:
        return [line]
    arity = len(match.group(2).split())
    names = [row.name for row in ELEMENTWISE.values() if row.arity == arity]
    return [line.replace(f"= {match.group(1)} ", f"= {draw.choice(names)} ")]


def _rewind(line: str, lines: list[str], draw: random.Random) -> list[str]:
    return [line.replace(" rewind", "", 1)]


def _masked(line: str, lines: list[str], draw: random.Random) -> list[str]:
    return [line.replace(" masked", "", 1)]


def _repeated(line: str, lines: list[str], draw: random.Random) -> list[str]:
    return [line, line]


def _dropped(line: str, lines: list[str], draw: random.Random) -> list[str]:
    return []
