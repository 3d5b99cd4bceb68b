"""The compiler: from a Subgraph to a kernel, one function a stage, each artefact printable."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial

from snipjit import config
from snipjit.errors import LinkError, ScratchpadError, UnsupportedError
from snipjit.ir.axis_sizes import undetermined
from snipjit.ir.linear_ir import LinearIR
from snipjit.ir.parts import Parts
from snipjit.ir.schedule import Schedule
from snipjit.ir.subgraph import Dim, Node, Subgraph
from snipjit.ir.text.dumps import Dumps, writer
from snipjit.ir.text.subgraph import print_subgraph
from snipjit.ir.verify.linear import verify as verify_linear
from snipjit.ir.verify.subgraph import verify_between, verify_canonical, verify_positional
from snipjit.passes import graph, linear, llvm
from snipjit.passes.base import run_pipeline
from snipjit.passes.graph.prepare_weights import blocks_of, prepared, swaps
from snipjit.passes.graph.specialize_sizes import SpecializeSizes, feature_axes
from snipjit.recipes import interface_of, recipe_of
from snipjit.runtime import engine
from snipjit.runtime.collection import collect_new, collection_paused
from snipjit.runtime.compile_threads import Run, at_once
from snipjit.runtime.disk_cache import DiskCache, disk_cache
from snipjit.runtime.host import LOCK, require_executable_memory
from snipjit.runtime.huge_pages import empty_in_huge_pages
from snipjit.runtime.kernel import Kernel
from snipjit.runtime.kernel_cache import KERNELS, STRUCTURES
from snipjit.runtime.launcher import Launcher
from snipjit.runtime.prepared_weights import FORMS, Form
from snipjit.runtime.structure import Choice, Selection, Structure
from snipjit.target.candidates import candidate
from snipjit.target.target_machine import TargetMachine, select

log = logging.getLogger(__name__)


def compile_subgraph(
    subgraph: Subgraph,
    target: TargetMachine | None = None,
    weights: Collection[int] = (),
    prepare: bool = False,
) -> Structure:
    """The structure of a positional Subgraph, from the cache if it was compiled before.

    Each kernel is compiled when a call brings sizes that it serves, or ahead. ``weights`` are
    numbers of parameters that are the same tensors at each call; to ``prepare`` is to have kernels
    read them in their own order, as far as they can. Raises UnsupportedError if this version cannot
    compile it, or this process may not run what it compiles; SlowerError if PyTorch is faster.
    """
    require_executable_memory()
    target = target or select(engine.host_features())
    dumps = Dumps.of(subgraph)
    canonical, swapped = with_weights(optimize(subgraph, dumps), target, weights, prepare)
    key = f"{_key(canonical, target)}\n{swapped}" if swapped else _key(canonical, target)

    def compile() -> Structure:
        forms = {i: form_of(target, canonical.parameters[i], s) for i, s in swapped.items()}
        return _structure(key, Kernels(canonical, target, dumps), forms)

    return STRUCTURES.get(key, compile)


def with_weights(
    canonical: Subgraph, target: TargetMachine, weights: Collection[int], prepare: bool
) -> tuple[Subgraph, dict[int, bool]]:
    """A canonical Subgraph that reads its weights as it is to; by their numbers those prepared.

    True stands for those that are given as [k][n]. Raises SlowerError as ``compile_subgraph``.
    """
    linear.refuse_native(canonical, target)
    made = prepared(canonical, target, weights if prepare else ())
    linear.refuse_across(made, weights)
    return made, swaps(canonical, made)


def form_of(target: TargetMachine, weight: Node, swapped: bool) -> Form:
    """How weights like one are prepared for a target; ``swapped``: they are given as [k][n]."""
    writer = blocks_of(target, weight.type.dtype, swapped)
    key = _key(writer, target)
    structure = STRUCTURES.get(key, lambda: _structure(key, Kernels(writer, target)))
    if key not in FORMS:
        write = Launcher(structure, empty=empty_in_huge_pages).call
        FORMS.setdefault(key, Form(target.lanes, swapped, write))
    return FORMS[key]


def _key(canonical: Subgraph, target: TargetMachine, schedule: Schedule | None = None) -> str:
    kind = schedule.value if schedule is not None else "all"
    return f"{target.name} {kind}\n{print_subgraph(canonical)}"


def _structure(key: str, kernels: Kernels, forms: Mapping[int, Form] | None = None) -> Structure:
    kernels.check_general()
    interface = interface_of(kernels.canonical)
    return Structure(key, interface, kernels.selection, kernels.begin, forms or {})


@dataclass
class _Version:
    """The Subgraph of one kernel, and where its stages are dumped."""

    subgraph: Subgraph
    dumps: Dumps | None


@dataclass
class Kernels:
    """Compiles the kernels of one canonical Subgraph.

    general  the LinearIR of the general one, from when it was looked at until it is compiled
    """

    canonical: Subgraph
    target: TargetMachine
    dumps: Dumps | None = None
    general: LinearIR | None = None
    _versions: dict[Choice, _Version] = field(default_factory=dict)

    @cached_property
    def selection(self) -> Selection:
        """Which there are."""
        features = tuple(feature_axes(self.canonical))
        return Selection(linear.serving(self.canonical, self.target), features)

    def begin(self, choice: Choice, run: Run = at_once) -> Callable[[], Kernel]:
        """Begin to compile one kernel, unless there is one; what it returns ends that.

        Raises UnsupportedError if it cannot be compiled.
        """
        key = _key(self._version(choice).subgraph, self.target, choice.schedule)
        if (found := KERNELS.find(key)) is not None:
            return lambda: found
        with LOCK:
            finish = self._compile(key, choice, run)
        return lambda: KERNELS.get(key, finish)

    def lower(self, choice: Choice) -> LinearIR:
        """The LinearIR of one kernel. Raises UnsupportedError likewise."""
        version = self._version(choice)
        if choice == self.selection.general and self.general is not None and version.dumps is None:
            found, self.general = self.general, None
            return found
        return lower(version.subgraph, self.target, version.dumps, choice.schedule)

    def first(self, choices: Iterable[Choice]) -> tuple[Choice, LinearIR]:
        """The first kernel of which LLVM IR can be made. UnsupportedError as of compilation."""
        refused: UnsupportedError | None = None
        if not self.selection.is_single:
            self.check_general()
        for choice in choices:
            try:
                lir = self.lower(choice)
                emit(lir, self.target)
            except UnsupportedError as error:
                refused = error
            else:
                return choice, lir
        assert refused is not None
        raise refused

    def check_general(self) -> None:
        """Raise UnsupportedError if there is no kernel for all sizes; else keep its LinearIR.

        That there is one is kept on disk, so that a process after this one need not look.
        """
        disk, schedule = disk_cache(), self.selection.general.schedule
        name = f"general\n{self._named(_key(self.canonical, self.target, schedule), schedule)}"
        if disk is not None and disk.load(name) is not None:
            return
        self.general = lower(self.canonical, self.target, schedule=schedule)
        if disk is not None:
            disk.store(name, recipe_of(self.general), b"")

    def _named(self, key: str, schedule: Schedule) -> str:
        """What a kernel is kept under on disk: all that it was made from."""
        return f"{key}\n{self.target}\n{candidate(self.target, schedule)}"

    def _version(self, choice: Choice) -> _Version:
        """The Subgraph with the sizes of features that a kernel has compiled in."""
        if choice not in self._versions:
            own, features = self.canonical, self.selection.features
            if choice.features:
                sizes = dict(zip(features, choice.features, strict=True))
                own = run_pipeline((SpecializeSizes(sizes), *graph.SIZED), self.canonical)
            dumps = self.dumps
            if dumps is not None and not self.selection.is_single:
                dumps = dumps.kernel(choice.name(features), print_subgraph(own))
            self._versions[choice] = _Version(own, dumps)
        return self._versions[choice]

    def _compile(self, key: str, choice: Choice, run: Run) -> Callable[[], Kernel]:
        """Begin the kernel of a key; from the disk if a process before compiled it."""
        disk, name = disk_cache(), self._named(key, choice.schedule)
        if disk is not None and (kernel := _from_disk(key, disk, name)) is not None:
            return lambda: kernel
        finish = assemble(key, self.lower(choice), self.target, self._version(choice).dumps, run)

        def kept() -> Kernel:
            kernel = finish()
            if disk is not None:
                disk.store(name, kernel.recipe, kernel.object_code)
            return kernel

        return kept


def optimize(subgraph: Subgraph, dumps: Dumps | None = None) -> Subgraph:
    """Data flow: a positional Subgraph to its canonical form."""
    verify = verify_between if config.verify_passes() else None
    if config.verify_stages():
        verify_positional(subgraph)
    dump = writer(dumps, "graph")
    result: Subgraph = run_pipeline(graph.PIPELINE, subgraph, verify=verify, dump=dump)
    if config.verify_stages():
        verify_canonical(result)
    _check_sizes(result)
    return result


def _check_sizes(canonical: Subgraph) -> None:
    dims = [_telling(parameter) for parameter in canonical.parameters]
    if missing := undetermined(tuple(canonical.axes.items()), dims):
        raise UnsupportedError(
            f"no tensor tells the sizes of axes {', '.join(missing)} apart; accepted: merged "
            "dims of which at most one factor is unknown (make the head size static)"
        )


def _telling(parameter: Node) -> tuple[Dim, ...]:
    """The dims of a parameter that tell sizes: a number of blocks does not."""
    blocked, *_ = parameter.attrs.get("block", (None,))
    dims = Parts.told(parameter.attrs, parameter.type.dims)
    return tuple(dim for dim in dims if dim != (blocked,))


def lower(
    canonical: Subgraph,
    target: TargetMachine,
    dumps: Dumps | None = None,
    schedule: Schedule = Schedule.ROWS,
) -> LinearIR:
    """Control flow: a canonical Subgraph to the final LinearIR.

    Where its buffers would be too large for the scratchpad what they hold is halved.
    """
    verify = verify_linear if config.verify_passes() else None
    for halvings in itertools.count():
        steps = linear.pipeline(target, schedule, halvings)
        try:
            result: LinearIR = run_pipeline(
                steps, canonical, verify=verify, dump=writer(dumps, "linear")
            )
            break
        except ScratchpadError:
            continue
    if config.verify_stages():
        verify_linear(result, final=True)
    return result


def emit(lir: LinearIR, target: TargetMachine, dumps: Dumps | None = None) -> str:
    """Binary code generation: the final LinearIR to the text of an LLVM module."""
    with collection_paused():
        text = str(run_pipeline(llvm.pipeline(target), lir, dump=writer(dumps, "llvm")))
    collect_new()  # the module, whose parts know each other; the next one takes its memory
    return text


def assemble(
    key: str,
    lir: LinearIR,
    target: TargetMachine,
    dumps: Dumps | None = None,
    run: Run = at_once,
) -> Callable[[], Kernel]:
    """Begin to make a kernel that can be called of LinearIR."""
    llvm_ir, recipe = emit(lir, target, dumps), recipe_of(lir)
    if dumps is not None:
        dumps.write("assembly.s", engine.assembly(llvm_ir, target))
    code = run(partial(engine.compile_beside, llvm_ir, target))
    return lambda: Kernel.from_object(key, recipe, code(), llvm.SYMBOL)


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
