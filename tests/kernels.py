"""Helpers that compile a Subgraph for a target row, make inputs and know the right answer."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import pytest
import torch

from snipjit.compiler import assemble, lower, optimize
from snipjit.ir.axis_sizes import TensorSpec
from snipjit.ir.interpret.subgraph import interpret
from snipjit.ir.linear_ir import LinearIR
from snipjit.ir.parts import Parts
from snipjit.ir.schedule import Schedule
from snipjit.ir.subgraph import Subgraph
from snipjit.ir.tensors import Tensor
from snipjit.passes.base import run_pipeline
from snipjit.passes.graph import PIPELINE
from snipjit.passes.graph.specialize_sizes import feature_axes
from snipjit.passes.linear import serving
from snipjit.runtime import engine
from snipjit.runtime.interface import Gathered, Interface
from snipjit.runtime.launcher import Launcher
from snipjit.runtime.structure import Structure
from snipjit.target import target_machine
from snipjit.target.candidates import TUNED, candidate
from snipjit.target.target_machine import TargetMachine
from tests import emulated
from tests.narrow import HALVES, torch_type

T = TypeVar("T")

ROUNDING = {"bf16": 2.0**-8, "f16": 2.0**-11}
"""Half the distance of neighbours, relative to the smaller one."""

ROWS = {row.name: row for row in target_machine.TARGETS}
"""Every row: the host runs it, or it is emulated (``tests/emulated.py``)."""
TARGETS = {name: row for name, row in ROWS.items() if not row.pairs}
"""Those that compile f32 differently."""


def tuned(row: TargetMachine, name: str, numbers: Mapping[Schedule, Any]) -> TargetMachine:
    """A row of its own name, with other numbers for its candidates."""
    own = replace(row, name=name)
    for schedule, given in numbers.items():
        TUNED[name, schedule] = replace(candidate(row, schedule), **given)
    return own


def small(row: TargetMachine, name: str = "") -> TargetMachine:
    """A row with small tiles, panels and blocks: quick to compile, and short calls take every loop
    and every tail. Only single rows go by columns: other sizes share one kernel."""
    lanes, common = row.lanes, {"tile": 4, "unroll": 2, "held": 16}
    rows = {"task": 2 * lanes, "panel": lanes, "block": 32 if row.tiles else 8}
    outputs = {**common, "task": 8, "panel": lanes, "columns": 2 * lanes, "block": 8, "vectors": 1}
    numbers = {
        Schedule.ROWS: {**common, **rows, "columns": 32, "held_panel": lanes},
        Schedule.COLUMNS: {**common, "block": 8, "columns": 32, "most_rows": 1},
        Schedule.FEATURES: {"vectors": 2, "columns": 2 * lanes, "elements": 8 * lanes},
        Schedule.OUTPUTS: {**outputs, "depth": 8},
        Schedule.BLOCKS: {**outputs, "depth": 8, "most_rows": 8},
        Schedule.STEPS: {**outputs, "depth": 4, "most_rows": 4},
    }
    return tuned(row, name or f"small {row.name}", numbers)


SMALL = {name: small(row) for name, row in TARGETS.items()}
Variant = tuple[TargetMachine, Schedule]


def _variants(rows: Mapping[str, TargetMachine]) -> dict[str, Variant]:
    return {
        **{name: (row, Schedule.ROWS) for name, row in rows.items()},
        **{f"{name} columns": (row, Schedule.COLUMNS) for name, row in rows.items()},
    }


VARIANTS = _variants(SMALL)
"""Every way to compile a Subgraph of f32, with small tiles."""
NARROW_VARIANTS = _variants({name: small(row) for name, row in ROWS.items()})
"""Every way to compile one of 16 bits, with small tiles."""
WHOLE_VARIANTS = _variants(ROWS)
"""The same with the tiles that users get; those that compile f32 differently."""
F32_WHOLE_VARIANTS = _variants(TARGETS)


def is_native(row: TargetMachine) -> bool:
    """Whether the host runs the row itself."""
    return engine.host_features().issuperset(row.features)


def in_turn(names: Iterable[str], rows: Sequence[str]) -> list[Any]:
    """Pairs of a name and a row: with each name one row in turn, with the others if long."""
    return [
        pytest.param(name, row, marks=[] if (number + turn) % len(rows) == 0 else pytest.mark.long)
        for number, name in enumerate(names)
        for turn, row in enumerate(rows)
    ]


def native_in_turn(names: Sequence[Any], kinds: Mapping[str, Variant | TargetMachine]) -> list[Any]:
    """Pairs of a name and a row: each of both with one of the other in turn, all others if long.

    What is emulated is long.
    """
    found = []
    for number, name in enumerate(names):
        for turn, (row, kind) in enumerate(kinds.items()):
            now = turn % len(names) == number % len(kinds) or turn == number % len(kinds)
            marks = _marks(kind) or ([] if now else [pytest.mark.long])
            found.append(pytest.param(name, row, marks=marks))
    return found


def natives_first(kinds: Mapping[str, Variant | TargetMachine]) -> list[Any]:
    """The names as parameters of a test; what is emulated runs with the long tests."""
    return [pytest.param(name, marks=_marks(kind)) for name, kind in kinds.items()]


def _marks(kind: Variant | TargetMachine) -> list[pytest.MarkDecorator]:
    row = kind if isinstance(kind, TargetMachine) else kind[0]
    return [] if is_native(row) else [pytest.mark.long]


ROWS_ONLY = frozenset(
    [
        *("dynamic head size", "softmax", "log sum exp, dynamic", "mlp", "mlp, static"),
        *("mean and variance", "chain"),
    ]
)
"""Examples of the tests of kernels that have none by columns, by name."""
Arrays = list[npt.NDArray[np.float64]]


def launcher(
    subgraph: Subgraph, target: TargetMachine, schedule: Schedule = Schedule.ROWS
) -> Launcher:
    """A freshly compiled kernel of a positional Subgraph; no cache."""
    return launcher_of(lower(optimize(subgraph), target, schedule=schedule), target)


def as_written(subgraph: Subgraph) -> Subgraph:
    """The canonical form with exp and scale where the model has them: texts that are edited."""
    passes = [step for step in PIPELINE if step.name not in ("ExpToExp4", "ScaleRows")]
    result: Subgraph = run_pipeline(passes, subgraph)
    return result


def compilable(
    examples: Mapping[str, Callable[[], Subgraph]],
    names: Iterable[str] | None = None,
    variants: Mapping[str, Variant] = VARIANTS,
) -> list[Any]:
    """Pairs of an example and a variant with a kernel, as parameters; emulated ones are long."""
    return [
        pytest.param(name, variant, marks=_marks(kind))
        for name in (examples if names is None else names)
        for variant, kind in _kinds(name, variants)
    ]


def _kinds(example: str, variants: Mapping[str, Variant]) -> list[tuple[str, Variant]]:
    return [
        (variant, kind)
        for variant, kind in variants.items()
        if kind[1] is Schedule.ROWS or example not in ROWS_ONLY
    ]


def extents(
    examples: Mapping[str, Callable[[], Subgraph]],
    sizes: Sequence[T],
    variants: Mapping[str, Variant] = VARIANTS,
    whole: Collection[str] = (),
) -> list[Any]:
    """Pairs as of ``compilable`` with the sizes to run.

    Examples of ``whole`` run on every variant, others on those of one row in turn, or if long; what
    is emulated runs the last size alone, or all if long.
    """
    found = []
    rows = [*dict.fromkeys(name.split()[0] for name in variants)]
    for number, name in enumerate(examples):
        for variant, kind in _kinds(name, variants):
            row = variant.split()[0]
            chosen = name in whole or rows.index(row) == number % len(rows)
            emulated_row = not is_native(kind[0])
            if emulated_row and chosen:
                found.append(pytest.param(name, variant, sizes[-1:], id=f"{name}-{variant}-one"))
            marks = [] if chosen and not emulated_row else [pytest.mark.long]
            found.append(pytest.param(name, variant, sizes, id=f"{name}-{variant}", marks=marks))
    return found


def object_code(llvm_ir: str, target: TargetMachine) -> bytes:
    """Code of a module for a row that the host runs, its instructions emulated where it must."""
    if is_native(target):
        return engine.compile_object(llvm_ir, target)
    return emulated.object_code(llvm_ir, target)


def goes_by_columns(subgraph: Subgraph) -> bool:
    """Whether there is a kernel by columns."""
    canonical = optimize(subgraph)
    table = serving(canonical, target_machine.PORTABLE)
    return table[0].schedule is Schedule.COLUMNS and not feature_axes(canonical)


def launcher_of(lir: LinearIR, target: TargetMachine) -> Launcher:
    """A freshly compiled kernel of a final LinearIR, emulated where the host lacks the row."""
    if is_native(target):
        return Launcher(Structure.single(interface_from(lir), assemble("test", lir, target)()))
    return emulated.launcher_of(lir, target, interface_from(lir))


def interface_from(lir: LinearIR) -> Interface:
    """The Interface that a LinearIR tells by itself, which may be one that no Subgraph has."""
    return Interface(
        axes=tuple(lir.axes.items()),
        inputs=tuple(_spec(tensor) for tensor in lir.inputs),
        outputs=tuple(_spec(tensor) for tensor in lir.outputs),
        scalars=tuple(lir.scalars),
        indexed=tuple(dict.fromkeys(e.attrs["axis"] for e in lir.expressions() if e.op == "iota")),
        gathered=_gathered(lir),
    )


def _gathered(lir: LinearIR) -> tuple[Gathered, ...]:
    """What is loaded by index."""
    numbers = {tensor.name: number for number, tensor in enumerate(lir.inputs)}
    loads = [e for e in lir.expressions() if e.op == "load"]
    source = {e.output: e.inputs[0] for e in loads}
    found = [
        Gathered(numbers[table], lir.tensors[table].dims.index((e.attrs["axis"],)), numbers[of])
        for e in loads
        for table, of in [(e.inputs[0], source[name]) for name in e.operands]
    ]
    return tuple(dict.fromkeys(found))


def _spec(tensor: Tensor) -> TensorSpec:
    order = tensor.order or tuple(range(len(tensor.dims)))
    block, parts = tensor.block, tensor.parts
    return TensorSpec(tensor.name, tensor.dtype, tensor.dims, order, block=block, parts=parts)


def shapes(subgraph: Subgraph, sizes: Mapping[str, int]) -> list[tuple[int, ...]]:
    """Shapes of the parameters for sizes by canonical axis (``m``, ``n`` …; 2 if not given)."""
    canonical = optimize(subgraph)
    result = []
    for parameter, traced in zip(canonical.parameters, subgraph.parameters, strict=True):
        ones = traced.attrs.get("ones", ())
        dims = []
        for number, dim in enumerate(Parts.told(parameter.attrs, parameter.type.dims)):
            size = 1
            for axis in dim:
                size *= canonical.axes.get(axis) or sizes.get(axis, 2)
            dims.append(1 if number in ones else size)
        result.append(tuple(dims))
    return result


def inputs(
    subgraph: Subgraph, sizes: Mapping[str, int], seed: int = 0
) -> tuple[list[torch.Tensor], list[float]]:
    """Random tensors and scalars for a positional Subgraph."""
    generator = torch.Generator().manual_seed(seed)
    tensors = []
    for shape, node in zip(shapes(subgraph, sizes), subgraph.parameters, strict=True):
        tensor = torch.randn(shape, generator=generator)
        dtype = node.type.dtype
        tensors.append(tensor > 0 if dtype == "i1" else tensor.to(torch_type(dtype)))
    return tensors, [0.3 + 0.1 * i for i in range(len(subgraph.scalars))]


def expected(subgraph: Subgraph, tensors: list[torch.Tensor], scalars: list[float]) -> Arrays:
    """The results in float64; of 16 bits those of kernels, which round no value on the way."""
    if any(node.type.dtype in HALVES for node in subgraph.results):
        subgraph = optimize(subgraph)
    with np.errstate(all="ignore"):
        return interpret(subgraph, [array(tensor) for tensor in tensors], scalars)


def array(tensor: torch.Tensor) -> npt.NDArray[Any]:
    """The elements of a tensor; NumPy has no bfloat16."""
    return (tensor.float() if tensor.is_floating_point() else tensor).numpy()


def results(run: Launcher, tensors: list[torch.Tensor], scalars: list[float]) -> Arrays:
    """What the kernel returns."""
    output = run(*tensors, *scalars)
    outputs = output if isinstance(output, tuple) else (output,)
    return [array(tensor).astype(np.float64) for tensor in outputs]


def assert_right(
    run: Launcher,
    subgraph: Subgraph,
    tensors: list[torch.Tensor],
    scalars: list[float],
    tolerance: float = 2e-5,
) -> None:
    """The kernel's results equal the float64 ones; NaN and infinities stand where they stand."""
    dtypes = [node.type.dtype for node in subgraph.results]
    tolerance = max([tolerance, *(ROUNDING[dtype] for dtype in dtypes if dtype in HALVES)])
    for got, want in zip(
        results(run, tensors, scalars), expected(subgraph, tensors, scalars), strict=True
    ):
        assert got.shape == want.shape
        size = np.abs(want[np.isfinite(want)]).max(initial=1.0)
        np.testing.assert_allclose(got, want, rtol=tolerance, atol=tolerance * size)
