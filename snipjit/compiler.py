"""The compiler: from a Subgraph to a kernel, one function a stage, each artefact printable."""

from __future__ import annotations

import gc
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache

from snipjit import config
from snipjit.axis_sizes import undetermined
from snipjit.dumps import Dumps, writer
from snipjit.errors import LinkError, UnsupportedError
from snipjit.linear_ir import LinearIR
from snipjit.passes import graph, linear, llvm
from snipjit.passes.base import run_pipeline
from snipjit.passes.graph.specialize_sizes import SpecializeSizes, feature_axes
from snipjit.recipes import recipe_of
from snipjit.runtime import engine
from snipjit.runtime.disk_cache import DiskCache, disk_cache
from snipjit.runtime.host import require_executable_memory
from snipjit.runtime.kernel import Kernel, KernelFamily, Structure
from snipjit.runtime.kernel_cache import FAMILIES, KERNELS
from snipjit.runtime.runtime_configurator import Recipe
from snipjit.schedule import Schedule
from snipjit.subgraph import Subgraph
from snipjit.target_machine import TargetMachine, select
from snipjit.text_subgraph import print_subgraph
from snipjit.verify_linear import verify as verify_linear
from snipjit.verify_subgraph import verify_between, verify_canonical, verify_positional

log = logging.getLogger(__name__)

SPECIALIZED_SIZES = 4
"""For how many sizes of its features a structure gets kernels of their own."""


def compile_subgraph(subgraph: Subgraph, target: TargetMachine | None = None) -> Structure:
    """The kernel of a positional Subgraph, from the cache if its structure was compiled before.

    If it has features of dynamic size, or another schedule for few rows, the kernel for the sizes
    of a call is compiled when the call brings them. Raises UnsupportedError if this version cannot
    compile it, or if this process may not run what it compiles.
    """
    require_executable_memory()
    target = target or select(engine.host_features())
    dumps = Dumps.of(print_subgraph(subgraph))
    canonical = optimize(subgraph, dumps)
    if feature_axes(canonical) or linear.few_rows_axis(canonical):
        key = _key(canonical, target)
        return FAMILIES.get(key, lambda: _family(key, canonical, target, dumps))
    return _kernel(canonical, target, dumps)


def _key(canonical: Subgraph, target: TargetMachine, schedule: Schedule = Schedule.ROWS) -> str:
    return f"{target.name} {schedule.value}\n{print_subgraph(canonical)}"


def _family(
    key: str, canonical: Subgraph, target: TargetMachine, dumps: Dumps | None
) -> KernelFamily:
    """Kernels for the first few sizes of the features, by rows and by columns; a general one."""
    features, few = feature_axes(canonical), linear.few_rows_axis(canonical)
    seen: set[tuple[int, ...]] = set()
    general = _general_recipe(key, canonical, target)

    @cache
    def kernel(wanted: tuple[int, ...], schedule: Schedule) -> Kernel:
        """The kernel for sizes of the features; the general one for none."""
        own = canonical
        if wanted:
            specialize = SpecializeSizes(dict(zip(features, wanted, strict=True)))
            own = run_pipeline((specialize, *graph.SIZED), canonical)
        try:
            return _kernel(own, target, dumps_of(wanted, schedule, own), schedule)
        except UnsupportedError:
            if schedule is not Schedule.ROWS:
                return kernel(wanted, Schedule.ROWS)
            if not wanted:
                raise
            return kernel((), schedule)

    def dumps_of(wanted: tuple[int, ...], schedule: Schedule, own: Subgraph) -> Dumps | None:
        sizes = (f"{axis}{size}" for axis, size in zip(features, wanted, strict=False))
        name = "_".join((schedule.value, *sizes))
        return dumps.kernel(name, print_subgraph(own)) if dumps is not None else None

    def choose(sizes: Mapping[str, int]) -> Kernel:
        wanted = tuple(sizes[axis] for axis in features)
        if wanted not in seen and (not all(wanted) or len(seen) >= SPECIALIZED_SIZES):
            return kernel((), Schedule.ROWS)
        seen.add(wanted)
        few_rows = few is not None and sizes[few] <= target.few_rows
        return kernel(wanted, Schedule.COLUMNS if few_rows else Schedule.ROWS)

    return KernelFamily(key, general, choose)


def _general_recipe(key: str, canonical: Subgraph, target: TargetMachine) -> Recipe:
    """The recipe of the general kernel, without its code. UnsupportedError if it has none."""
    disk, name = disk_cache(), f"recipe\n{key}\n{target}"
    if disk is not None and (kept := disk.load(name)) is not None:
        return kept[0]
    found = recipe_of(lower(canonical, target), canonical)
    if disk is not None:
        disk.store(name, found, b"")
    return found


def _kernel(
    canonical: Subgraph,
    target: TargetMachine,
    dumps: Dumps | None,
    schedule: Schedule = Schedule.ROWS,
) -> Kernel:
    key = _key(canonical, target, schedule)
    return KERNELS.get(key, lambda: _compile(key, canonical, target, dumps, schedule))


def optimize(subgraph: Subgraph, dumps: Dumps | None = None) -> Subgraph:
    """Data flow: a positional Subgraph to its canonical form."""
    verify = verify_between if config.verify_passes() else None
    if config.verify_stages():
        verify_positional(subgraph)
    result: Subgraph = run_pipeline(
        graph.PIPELINE, subgraph, verify=verify, dump=writer(dumps, "graph")
    )
    if config.verify_stages():
        verify_canonical(result)
    _check_sizes(result)
    return result


def _check_sizes(canonical: Subgraph) -> None:
    dims = [parameter.type.dims for parameter in canonical.parameters]
    if missing := undetermined(tuple(canonical.axes.items()), dims):
        raise UnsupportedError(
            f"no tensor tells the sizes of axes {', '.join(missing)} apart; accepted: merged "
            "dims of which at most one factor is unknown (make the head size static)"
        )


def lower(
    canonical: Subgraph,
    target: TargetMachine,
    dumps: Dumps | None = None,
    schedule: Schedule = Schedule.ROWS,
) -> LinearIR:
    """Control flow: a canonical Subgraph to the final LinearIR."""
    verify = verify_linear if config.verify_passes() else None
    result: LinearIR = run_pipeline(
        linear.pipeline(target, schedule), canonical, verify=verify, dump=writer(dumps, "linear")
    )
    if config.verify_stages():
        verify_linear(result, final=True)
    return result


def emit(lir: LinearIR, target: TargetMachine, dumps: Dumps | None = None) -> str:
    """Binary code generation: the final LinearIR to the text of an LLVM module."""
    with _collection_paused():
        return str(run_pipeline(llvm.pipeline(target), lir, dump=writer(dumps, "llvm")))


@contextmanager
def _collection_paused() -> Iterator[None]:
    """No garbage collection: among the objects that torch keeps alive it would double the time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def assemble(
    key: str,
    lir: LinearIR,
    target: TargetMachine,
    dumps: Dumps | None = None,
    canonical: Subgraph | None = None,
) -> Kernel:
    """LinearIR to a kernel that can be called; of inputs its Subgraph says more."""
    llvm_ir = emit(lir, target, dumps)
    if dumps is not None:
        dumps.write("assembly.s", engine.assembly(llvm_ir, target))
    object_code = engine.compile_object(llvm_ir, target)
    return Kernel.from_object(key, recipe_of(lir, canonical), object_code, llvm.SYMBOL)


def _compile(
    key: str,
    canonical: Subgraph,
    target: TargetMachine,
    dumps: Dumps | None,
    schedule: Schedule,
) -> Kernel:
    """The kernel of a canonical Subgraph, from the disk if a process before compiled it."""
    disk, name = disk_cache(), f"{key}\n{target}"
    if disk is not None and (kernel := _from_disk(key, disk, name)) is not None:
        return kernel
    lir = lower(canonical, target, dumps, schedule)
    kernel = assemble(key, lir, target, dumps, canonical)
    if disk is not None:
        disk.store(name, kernel.recipe, kernel.object_code)
    return kernel


def _from_disk(key: str, disk: DiskCache, name: str) -> Kernel | None:
    """The kernel that the disk keeps under a name; None if there is none that can be loaded."""
    kept = disk.load(name)
    if kept is None:
        return None
    try:
        return Kernel.from_object(key, *kept, llvm.SYMBOL, compiled=False)
    except LinkError as error:
        log.warning("a kernel of %s is compiled again: %s", disk.directory, error)
        return None
