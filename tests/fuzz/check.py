"""Checks of a seed: numbers near eager's or float64's, NaN and strides where eager has them."""

from __future__ import annotations

import random
from dataclasses import dataclass

import torch
from torch import Tensor

import snipjit
from tests.fuzz import runs
from tests.fuzz.draw import draw, other_sizes
from tests.fuzz.programs import Program

TOLERANCE = {torch.float32: 5e-5, torch.float16: 1.5e-3, torch.bfloat16: 1.6e-2}
"""Of the largest result, beyond what eager itself is off from float64."""


@dataclass(frozen=True)
class Case:
    """A seed with what it draws: a program, a target row, a way of tracing.

    ``other`` is the program for other lengths, where the trace takes them.
    """

    seed: int
    program: Program
    target: str
    mode: str
    other: Program | None = None


@dataclass(frozen=True)
class Outcome:
    """What came of a case: what is wrong, if anything; how many kernels; why none."""

    problem: str | None
    fused: int = 0
    reasons: tuple[str, ...] = ()


def case_of(seed: int, compiled: bool = False) -> Case:
    """The case of a seed; the rows that the host emulates take turns with the others."""
    choose = random.Random(f"case {seed}")
    modes = runs.MODES[2:] if compiled else runs.MODES[:2]
    program, mode = draw(seed, compiled), choose.choice(modes)
    other = other_sizes(seed, compiled) if "dynamic" in mode or mode == "export" else None
    return Case(seed, program, choose.choice([*runs.TARGETS]), mode, other)


def check(case: Case) -> Outcome:
    """Run a case and compare it."""
    programs = [case.program, *([case.other] if case.other is not None else [])]
    calls = [runs.tensors(program, case.seed) for program in programs]
    pairs = list(zip(programs, calls, strict=True))
    try:
        wanted = [runs.eager(program, given) for program, given in pairs]
    except (RuntimeError, IndexError, TypeError, AttributeError):
        return Outcome(None, reasons=("eager refuses",))
    exact = [runs.eager(program, given, wide=True) for program, given in pairs]
    snipjit.reset_stats()
    try:
        with runs.on_target(runs.TARGETS[case.target]):
            found = runs.run(case.program, calls, case.mode)
    except Exception as error:  # whatever it is, the user would see it
        return Outcome(f"{type(error).__name__}: {str(error)[:2000]}")
    stats = snipjit.stats()
    triples = [t for of in zip(found, wanted, exact, strict=True) for t in zip(*of, strict=True)]
    problems = [_problem(*triple) or _moved(case.program, *triple[:2]) for triple in triples]
    problem = next(filter(None, problems), None)
    return Outcome(problem, stats.subgraphs, tuple(refusal.reason for refusal in stats.refusals))


def _problem(found: Tensor, wanted: Tensor, exact: Tensor) -> str | None:
    if (found.shape, found.dtype) != (wanted.shape, wanted.dtype):
        return f"{found.dtype}{list(found.shape)} in place of {wanted.dtype}{list(wanted.shape)}"
    if not wanted.is_floating_point():
        return None if torch.equal(found, wanted) else "other truth values"
    one, two, three = found.double(), wanted.double(), exact.double()
    finite = two.isfinite() & three.isfinite()
    # Where float64 alone, or eager alone, stays finite, either may be what the kernel does.
    odd = two.isfinite() != three.isfinite()
    same = torch.equal(
        one[~finite & ~odd].nan_to_num(9, 8, 7), two[~finite & ~odd].nan_to_num(9, 8, 7)
    )
    if not same:
        return "NaN or infinities in other places"
    if not finite.any():
        return None
    size = two[finite].abs().max().clamp(min=1e-3)
    error = (two - three)[finite].abs().max()
    distance = torch.minimum((one - two).abs(), (one - three).abs())[finite]
    bound = TOLERANCE[found.dtype] * size + 4 * error.clamp(max=size * 0.02)
    if distance.isnan().any() or distance.max() > bound:
        return f"off by {distance.max():.2g}, {bound:.2g} is accepted"
    return None


def _moved(program: Program, found: Tensor, wanted: Tensor) -> str | None:
    """Whether a result lies in memory as eager's; torch itself traces other einsums of size 1."""
    odd = "torch.einsum" in program.notes and any(1 in given.shape for given in program.inputs)
    if odd or not wanted.numel() or _strides(found) == _strides(wanted):
        return None
    return f"strides {found.stride()} in place of {wanted.stride()}"


def _strides(tensor: Tensor) -> list[int]:
    return [s for s, n in zip(tensor.stride(), tensor.shape, strict=True) if n > 1]
