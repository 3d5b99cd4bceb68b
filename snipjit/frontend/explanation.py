"""What snipjit makes of a model: every subgraph found, its IR, and the reason for each refusal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import fx
from torch.export import ExportedProgram

from snipjit.compiler import Kernels, optimize, with_weights
from snipjit.errors import InputError, UnsupportedError
from snipjit.frontend.files import load_pt2
from snipjit.frontend.options import Options
from snipjit.frontend.program import Target, lifted
from snipjit.frontend.traced_sizes import traced_shapes
from snipjit.ir.text.linear import print_linear
from snipjit.ir.text.subgraph import print_subgraph
from snipjit.passes.fx import NEEDS_GRAD, Candidate, needs_grad, tokenize, with_bodies
from snipjit.recipes import interface_of
from snipjit.refusal import Refusal
from snipjit.runtime.engine import host_features
from snipjit.runtime.host import require_executable_memory, require_platform
from snipjit.runtime.structure import Choice
from snipjit.target.target_machine import select
from snipjit.torch_private import uncompiled


@dataclass(frozen=True)
class Explained:
    """One subgraph that becomes a kernel.

    nodes       the FX nodes it covers, in order
    tokenized   the Subgraph as lifted from the graph
    canonical   the same after data-flow optimization: equal texts share their kernels
    kernel      which of these serves the sizes that were traced: its schedule, ``rows``,
                ``columns`` or ``outputs``, and the sizes that are compiled in, as in ``rows_d64``
    linear      the final LinearIR of that one
    pattern     what was found: ``"attention"``, ``"linear"``
    """

    nodes: tuple[str, ...]
    tokenized: str
    canonical: str
    kernel: str
    linear: str
    pattern: str = "attention"

    def __str__(self) -> str:
        return f"{' > '.join(self.nodes)}\n{self.canonical}"


@dataclass(frozen=True)
class Report:
    """Subgraphs found and candidates refused, over all graphs of the model.

    ``patterns`` are what was looked for.
    """

    subgraphs: tuple[Explained, ...]
    refusals: tuple[Refusal, ...]
    graphs: int
    patterns: tuple[str, ...] = ()

    def __str__(self) -> str:
        return "\n".join((self._head(), *self._fused(), *self._empty(), *self._refused()))

    def _head(self) -> str:
        """How many there are of everything."""
        kernels = len({(one.canonical, one.kernel) for one in self.subgraphs})
        counts = Counter(one.pattern for one in self.subgraphs)
        names = dict.fromkeys((*self.patterns, *counts))
        found = ", ".join(f"{counts[name]} {name}" for name in names) or "0"
        return (
            f"{found} subgraph(s) in {self.graphs} graph(s), {kernels} kernel(s); "
            f"{len(self.refusals)} refused"
        )

    def _fused(self) -> Iterable[str]:
        """Lines for each subgraph; the IR of a kernel stands where it is first used."""
        shown: dict[tuple[str, str], int] = {}
        for number, one in enumerate(self.subgraphs, 1):
            first, *_, last = (*one.nodes, *one.nodes)
            covers = first if one.nodes == (first,) else f"{first} … {last}"
            kernel = one.canonical, one.kernel
            yield f"\n[{number}] {one.pattern}: {covers} ({len(one.nodes)} nodes) into {one.kernel}"
            yield "    " + " ▸ ".join(one.nodes)
            if kernel in shown:
                yield f"    the same kernel as [{shown[kernel]}]"
            else:
                shown[kernel] = number
                yield from ("    " + line for line in one.canonical.splitlines())

    def _empty(self) -> Iterable[str]:
        if not self.graphs:
            yield (
                "\nno graph was traced: pass the model itself or its method, and no function that "
                "calls what was compiled before"
            )

    def _refused(self) -> Iterable[str]:
        """Lines for each reason, with all nodes that it was the reason of."""
        alike: dict[tuple[str, bool, str], list[Refusal]] = {}
        for one in self.refusals:
            reason = one.reason.replace(f"`{one.node}`", "it")
            alike.setdefault((one.pattern, one.is_expected, reason), []).append(one)
        for (pattern, is_expected, _), refusals in alike.items():
            nodes = ", ".join(one.node for one in refusals)
            how = ", as expected" if is_expected else ""
            yield f"\n[refused{how}] {pattern}: {nodes}\n    {refusals[0].reason}"


def explain(
    target: Target, *args: Any, options: Mapping[str, Any] | None = None, **kwargs: Any
) -> Report:
    """What ``snipjit`` finds in an ExportedProgram, a ``.pt2`` file, or a module with arguments.

    ``options`` are those of compilation; all other keyword arguments are the module's. Kernels are
    made up to LLVM IR and not compiled; nothing is counted in ``stats``. A module is
    traced anew, and Dynamo is reset for it, as ``torch._dynamo.explain`` does: what
    ``torch.compile`` has compiled in this process is traced again at its next call. Raises
    InputError for a missing or damaged file, OptionError for unknown options, and UnsupportedError
    on systems but x86-64 Linux.
    """
    require_platform()
    explainer = _Explainer(Options.of(options))
    if isinstance(target, ExportedProgram) or not callable(target):
        if not isinstance(target, ExportedProgram | str | Path):
            kind = type(target).__name__
            raise InputError(f"cannot explain a {kind}: pass a model, an ExportedProgram or a .pt2")
        exported = target if isinstance(target, ExportedProgram) else load_pt2(target)
        return explainer.report(explainer.graphs(lifted(exported).graph_module, grad=False), 1)
    graphs: list[fx.GraphModule] = []
    found: list[Explained | Refusal] = []

    def capture(gm: fx.GraphModule, example_inputs: list[Any]) -> Callable[..., Any]:
        graphs.append(gm)
        found.extend(explainer.graphs(gm, grad=True))
        runner: Callable[..., Any] = gm.forward
        return runner

    torch.compiler.reset()
    with _as_written(target):
        torch.compile(target, backend=capture, dynamic=True)(*args, **kwargs)
    return explainer.report(found, len(graphs))


def _as_written(target: Callable[..., Any]) -> AbstractContextManager[None]:
    """Meanwhile a model, or the model that a method belongs to, is not compiled in place."""
    model = target if isinstance(target, torch.nn.Module) else getattr(target, "__self__", None)
    return uncompiled(model) if isinstance(model, torch.nn.Module) else nullcontext()


@dataclass
class _Explainer:
    """Explains graphs; equal candidates are lowered once."""

    options: Options
    known: dict[tuple[str, tuple[Choice, ...]], tuple[Choice, str]] = field(default_factory=dict)

    def report(self, found: list[Explained | Refusal], graphs: int) -> Report:
        """What was found, sorted."""
        return Report(
            tuple(item for item in found if isinstance(item, Explained)),
            tuple(item for item in found if isinstance(item, Refusal)),
            graphs,
            tuple(pattern.name for pattern in self.options.patterns),
        )

    def graphs(self, gm: fx.GraphModule, grad: bool) -> list[Explained | Refusal]:
        """The same for a graph and the bodies in it."""
        return [item for body in with_bodies(gm) for item in self.graph(body, grad)]

    def graph(self, gm: fx.GraphModule, grad: bool) -> list[Explained | Refusal]:
        """What becomes of each candidate of a graph."""
        tokenization = tokenize(gm, self.options.patterns)
        found: list[Explained | Refusal] = [*tokenization.refusals]
        for candidate in tokenization.candidates:
            if grad and needs_grad(gm, candidate):
                found.append(candidate.refused(NEEDS_GRAD))
            else:
                found.append(self.candidate(candidate))
        return found

    def candidate(self, candidate: Candidate) -> Explained | Refusal:
        """Its kernel, or why there is none."""
        try:
            require_executable_memory()
            target, prepare = select(host_features()), self.options.weights == "prepared"
            plain, weights = optimize(candidate.subgraph), candidate.weights
            made, swapped = with_weights(plain, target, weights, prepare)
            kernels, canonical = Kernels(made, target), print_subgraph(made)
            key = canonical, tuple(_choices(kernels, candidate, swapped))
            if key not in self.known:
                choice, lir = kernels.first(key[1])
                self.known[key] = choice, print_linear(lir)
        except UnsupportedError as error:
            return candidate.refused(error)
        choice, linear = self.known[key]
        nodes = tuple(node.name for node in candidate.nodes)
        kernel = choice.name(kernels.selection.features)
        tokenized = print_subgraph(candidate.subgraph)
        return Explained(nodes, tokenized, canonical, kernel, linear, candidate.pattern)


def _choices(kernels: Kernels, candidate: Candidate, swapped: Mapping[int, bool]) -> list[Choice]:
    """The kernels for the sizes that were traced; the general one where nothing is known of one.

    ``swapped``: the weights that are prepared, and whether each is given as [k][n].
    """
    blocks = {number: (kernels.target.lanes, swap) for number, swap in swapped.items()}
    if (known := traced_shapes(candidate, blocks)) is None:
        return [kernels.selection.general]
    return kernels.selection.choices(interface_of(kernels.canonical).sizes(known), seen=())
