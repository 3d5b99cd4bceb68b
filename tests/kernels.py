"""Helpers that compile a Subgraph for a target row, make inputs and know the right answer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from snipjit.compiler import assemble, lower, optimize
from snipjit.element_types import NARROW
from snipjit.interpret_subgraph import interpret
from snipjit.linear_ir import LinearIR
from snipjit.passes.base import run_pipeline
from snipjit.passes.graph import PIPELINE
from snipjit.passes.graph.specialize_sizes import feature_axes
from snipjit.passes.linear import few_rows_axis
from snipjit.runtime.engine import host_features
from snipjit.runtime.launcher import DTYPES, Launcher
from snipjit.schedule import Schedule
from snipjit.subgraph import Subgraph
from snipjit.target_machine import TargetMachine, rows_for

ROUNDING = {"bf16": 2.0**-8, "f16": 2.0**-11}
"""Half the distance of neighbours, relative to the smaller one."""

HOSTED = {row.name: row for row in rows_for(host_features())}
"""The rows that this host can run."""
TARGETS = {name: row for name, row in HOSTED.items() if not row.pairs}
"""Those that compile f32 differently."""
VARIANTS = {
    **{name: (row, Schedule.ROWS) for name, row in TARGETS.items()},
    **{f"{name} columns": (row, Schedule.COLUMNS) for name, row in TARGETS.items()},
}
"""Every way to compile a Subgraph of f32."""
NARROW_VARIANTS = {
    **{name: (row, Schedule.ROWS) for name, row in HOSTED.items()},
    **{f"{name} columns": (row, Schedule.COLUMNS) for name, row in HOSTED.items()},
}
"""Every way to compile one of 16 bits."""
Arrays = list[npt.NDArray[np.float64]]


def launcher(
    subgraph: Subgraph, target: TargetMachine, schedule: Schedule = Schedule.ROWS
) -> Launcher:
    """A freshly compiled kernel of a positional Subgraph; no cache."""
    return launcher_of(lower(optimize(subgraph), target, schedule=schedule), target)


def as_written(subgraph: Subgraph) -> Subgraph:
    """The canonical form with exp and scale where the model has them: texts that are edited."""
    passes = [step for step in PIPELINE if step.name not in ("ExpToExp2", "ScaleRows")]
    result: Subgraph = run_pipeline(passes, subgraph)
    return result


def compilable(
    examples: Mapping[str, Callable[[], Subgraph]],
    names: Iterable[str] | None = None,
    variants: Mapping[str, tuple[TargetMachine, Schedule]] = VARIANTS,
) -> list[tuple[str, str]]:
    """The pairs of an example and a variant of which there is a kernel."""
    return [
        (name, variant)
        for name in (examples if names is None else names)
        for variant, (_, schedule) in variants.items()
        if schedule is Schedule.ROWS or _has_columns(optimize(examples[name]()))
    ]


def _has_columns(canonical: Subgraph) -> bool:
    return few_rows_axis(canonical) is not None and not feature_axes(canonical)


def launcher_of(lir: LinearIR, target: TargetMachine) -> Launcher:
    """A freshly compiled kernel of a final LinearIR."""
    return Launcher(assemble("test", lir, target))


def shapes(subgraph: Subgraph, sizes: Mapping[str, int]) -> list[tuple[int, ...]]:
    """Shapes of the parameters for sizes by canonical axis (``m``, ``n`` …; 2 if not given)."""
    canonical = optimize(subgraph)
    result = []
    for parameter, traced in zip(canonical.parameters, subgraph.parameters, strict=True):
        ones = traced.attrs.get("ones", ())
        dims = []
        for number, dim in enumerate(parameter.type.dims):
            size = 1
            for axis in dim:
                size *= canonical.axes[axis] or sizes.get(axis, 2)
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
        tensors.append(tensor > 0 if dtype == "i1" else tensor.to(DTYPES[dtype]))
    return tensors, [0.3 + 0.1 * i for i in range(len(subgraph.scalars))]


def expected(subgraph: Subgraph, tensors: list[torch.Tensor], scalars: list[float]) -> Arrays:
    """The results in float64; of 16 bits those of kernels, which round no value on the way."""
    if any(node.type.dtype in NARROW for node in subgraph.results):
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
    tolerance = max([tolerance, *(ROUNDING[dtype] for dtype in dtypes if dtype in NARROW)])
    for got, want in zip(
        results(run, tensors, scalars), expected(subgraph, tensors, scalars), strict=True
    ):
        assert got.shape == want.shape
        size = np.abs(want[np.isfinite(want)]).max(initial=1.0)
        np.testing.assert_allclose(got, want, rtol=tolerance, atol=tolerance * size)
