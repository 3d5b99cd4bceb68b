"""Runs of a program: by eager PyTorch, in float64, and by snipjit on any target row."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

import snipjit
from snipjit import compiler
from snipjit.frontend.options import Options
from snipjit.frontend.torch_backend import fuse
from snipjit.ir.linear_ir import LinearIR
from snipjit.ir.schedule import Schedule
from snipjit.runtime.kernel import Kernel
from snipjit.target.target_machine import TargetMachine
from tests import emulated
from tests.fuzz.programs import Input, Model, Program
from tests.kernels import ROWS, is_native, small, tuned

MODES = ("static", "dynamic", "compile", "compile dynamic", "export")
TARGETS = {
    name: tuned(small(row), f"fuzz {name}", {Schedule.COLUMNS: {"most_rows": 3, "chunk": 8}})
    for name, row in ROWS.items()
}
"""With small tiles, and columns split among tasks from 16 on."""


def tensors(program: Program, seed: int) -> list[Tensor]:
    """The inputs of a program, the same for a seed."""
    generator = torch.Generator().manual_seed(seed)
    return [_tensor(given, generator) for given in program.inputs]


def _tensor(given: Input, generator: torch.Generator) -> Tensor:
    shape = [given.shape[dim] for dim in given.order]
    back = [given.order.index(dim) for dim in range(len(shape))]
    numbers = torch.randn(shape, generator=generator)
    if given.dtype == "bool":
        made = numbers > -0.7
    elif given.content.startswith("below"):
        limit = int(given.content.split()[1])
        made = torch.randint(limit, shape, generator=generator).to(getattr(torch, given.dtype))
    else:
        dtype = getattr(torch, given.dtype)
        made = numbers.to(dtype)
        if given.content == "hidden":
            made = made.masked_fill(numbers > 0.7, torch.finfo(dtype).min)
    return made.permute(back)


@contextlib.contextmanager
def on_target(row: TargetMachine) -> Iterator[None]:
    """Whatever is compiled meanwhile is for one row, emulated where the host lacks it."""
    own = {name: getattr(compiler, name) for name in ("select", "assemble")}

    def assemble(
        key: str, lir: LinearIR, target: TargetMachine, *rest: Any
    ) -> Callable[[], Kernel]:
        if is_native(target):
            finish: Callable[[], Kernel] = own["assemble"](key, lir, target, *rest)
            return finish
        return lambda: replace(emulated.kernel_of(lir, target), key=key)

    vars(compiler).update(select=lambda features: row, assemble=assemble)
    try:
        yield
    finally:
        vars(compiler).update(own)


def run(program: Program, calls: list[list[Tensor]], mode: str) -> list[tuple[Tensor, ...]]:
    """What snipjit makes of a program, traced with the inputs of the first call."""
    torch.set_num_threads(1)  # of emulated tile registers there is one set
    with torch.inference_mode(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        compiled = _compiled(program, calls[0], mode)
        own = 0 if mode in MODES[:2] else sum(given.is_weight for given in program.inputs)
        return [tuple(compiled(*_copies(given[own:]))) for given in calls]


def _compiled(program: Program, given: list[Tensor], mode: str) -> Callable[..., Any]:
    options: dict[str, Any] = {"fuse": program.fuse}
    if mode in MODES[:2]:
        gm = program.trace(given, mode == "dynamic")
        fuse(gm, Options.of(options), grad=False)
        return gm
    model = Model(program, given)
    inputs = [t for t, of in zip(given, program.inputs, strict=True) if not of.is_weight]
    if mode == "export":
        return snipjit.compile(model, tuple(_copies(inputs)), options=options)
    torch.compiler.reset()
    dynamic = mode == "compile dynamic"
    found: Callable[..., Any] = torch.compile(
        model, backend="snipjit", dynamic=dynamic, options=options
    )
    return found


def eager(program: Program, given: list[Tensor], wide: bool = False) -> tuple[Tensor, ...]:
    """What PyTorch makes of it; ``wide`` in float64."""
    copies = _copies(given)
    if wide:
        copies = [t.double() if t.is_floating_point() else t for t in copies]
    with torch.inference_mode():
        return program.run(copies, wide)


def _copies(given: list[Tensor]) -> list[Tensor]:
    """Copies with the same strides: programs may write to what they get."""
    return [tensor.clone(memory_format=torch.preserve_format) for tensor in given]
