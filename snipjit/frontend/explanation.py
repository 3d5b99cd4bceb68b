"""What snipjit makes of a model: every attention found, its IR, and the reason for each refusal."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import fx
from torch.export import ExportedProgram

from snipjit.compiler import Kernels, optimize
from snipjit.errors import InputError, UnsupportedError
from snipjit.frontend.files import load_pt2
from snipjit.frontend.program import Target, lifted
from snipjit.ir.text.linear import print_linear
from snipjit.ir.text.subgraph import print_subgraph
from snipjit.passes.fx import NEEDS_GRAD, Candidate, needs_grad, tokenize, with_bodies
from snipjit.passes.fx.nodes.traced import tensor
from snipjit.recipes import interface_of
from snipjit.refusal import Refusal
from snipjit.runtime.engine import host_features
from snipjit.runtime.host import require_executable_memory, require_platform
from snipjit.runtime.structure import Choice
from snipjit.target.target_machine import select
from snipjit.torch_private import traced_number, uncompiled


@dataclass(frozen=True)
class Explained:
    """One attention that becomes a kernel.

    nodes       the FX nodes it covers, in order
    tokenized   the Subgraph as lifted from the graph
    canonical   the same after data-flow optimization: equal texts share their kernels
    kernel      which of these serves the sizes that were traced: its schedule, ``rows`` or
                ``columns``, and the sizes that are compiled in, as in ``rows_d64``
    linear      the final LinearIR of that one
    """

    nodes: tuple[str, ...]
    tokenized: str
    canonical: str
    kernel: str
    linear: str

    def __str__(self) -> str:
        return f"{' > '.join(self.nodes)}\n{self.canonical}"


@dataclass(frozen=True)
class Report:
    """Subgraphs found and candidates refused, over all graphs of the model."""

    subgraphs: tuple[Explained, ...]
    refusals: tuple[Refusal, ...]
    graphs: int

    def __str__(self) -> str:
        kernels = len({(one.canonical, one.kernel) for one in self.subgraphs})
        lines = [
            f"{len(self.subgraphs)} attention subgraph(s) in {self.graphs} graph(s), "
            f"{kernels} kernel(s); {len(self.refusals)} refused"
        ]
        shown: set[tuple[str, str]] = set()
        for number, subgraph in enumerate(self.subgraphs, 1):
            nodes = subgraph.nodes
            covers = f"{nodes[0]} … {nodes[-1]} ({len(nodes)} nodes)"
            lines.append(f"\n[{number}] fused: {covers} into {subgraph.kernel}")
            lines.append("    " + " ▸ ".join(nodes))
            if (subgraph.canonical, subgraph.kernel) in shown:
                lines.append("    the same kernel as one above")
            else:
                lines += ["    " + line for line in subgraph.canonical.splitlines()]
            shown.add((subgraph.canonical, subgraph.kernel))
        if not self.graphs:
            lines.append(
                "\nno graph was traced: pass the model itself or its method, and no function that "
                "calls what was compiled before"
            )
        for refusal in self.refusals:
            lines.append(f"\n[refused] {refusal.node}\n    {refusal.reason}")
        return "\n".join(lines)


def explain(target: Target, *args: Any, **kwargs: Any) -> Report:
    """What ``snipjit`` finds in an ExportedProgram, a ``.pt2`` file, or a module with arguments.

    Kernels are made up to LLVM IR and not compiled; nothing is counted in ``stats``. A module is
    traced anew, and Dynamo is reset for it, as ``torch._dynamo.explain`` does: what
    ``torch.compile`` has compiled in this process is traced again at its next call. Raises
    InputError for a missing or damaged file, and UnsupportedError on systems but x86-64 Linux.
    """
    require_platform()
    if isinstance(target, ExportedProgram) or not callable(target):
        if not isinstance(target, ExportedProgram | str | Path):
            kind = type(target).__name__
            raise InputError(f"cannot explain a {kind}: pass a model, an ExportedProgram or a .pt2")
        exported = target if isinstance(target, ExportedProgram) else load_pt2(target)
        return _collect(_Explainer().graphs(lifted(exported).graph_module, grad=False), 1)
    graphs: list[fx.GraphModule] = []
    found: list[Explained | Refusal] = []
    explainer = _Explainer()

    def capture(gm: fx.GraphModule, example_inputs: list[Any]) -> Callable[..., Any]:
        graphs.append(gm)
        found.extend(explainer.graphs(gm, grad=True))
        runner: Callable[..., Any] = gm.forward
        return runner

    torch.compiler.reset()
    with _as_written(target):
        torch.compile(target, backend=capture, dynamic=True)(*args, **kwargs)
    return _collect(found, len(graphs))


def _as_written(target: Callable[..., Any]) -> AbstractContextManager[None]:
    """Meanwhile a model, or the model that a method belongs to, is not compiled in place."""
    model = target if isinstance(target, torch.nn.Module) else getattr(target, "__self__", None)
    return uncompiled(model) if isinstance(model, torch.nn.Module) else nullcontext()


def _collect(found: list[Explained | Refusal], graphs: int) -> Report:
    return Report(
        tuple(item for item in found if isinstance(item, Explained)),
        tuple(item for item in found if isinstance(item, Refusal)),
        graphs,
    )


@dataclass
class _Explainer:
    """Explains graphs; equal candidates are lowered once."""

    known: dict[tuple[str, tuple[Choice, ...]], tuple[Choice, str]] = field(default_factory=dict)

    def graphs(self, gm: fx.GraphModule, grad: bool) -> list[Explained | Refusal]:
        """The same for a graph and the bodies in it."""
        return [item for body in with_bodies(gm) for item in self.graph(body, grad)]

    def graph(self, gm: fx.GraphModule, grad: bool) -> list[Explained | Refusal]:
        """What becomes of each candidate of a graph."""
        tokenization = tokenize(gm)
        found: list[Explained | Refusal] = [*tokenization.refusals]
        for candidate in tokenization.candidates:
            if grad and needs_grad(gm, candidate):
                found.append(Refusal(candidate.outputs[0].name, NEEDS_GRAD))
            else:
                found.append(self.candidate(candidate))
        return found

    def candidate(self, candidate: Candidate) -> Explained | Refusal:
        """Its kernel, or why there is none."""
        try:
            require_executable_memory()
            kernels = Kernels(optimize(candidate.subgraph), select(host_features()))
            canonical = print_subgraph(kernels.canonical)
            key = canonical, tuple(_choices(kernels, candidate))
            if key not in self.known:
                choice, lir = kernels.first(key[1])
                self.known[key] = choice, print_linear(lir)
        except UnsupportedError as error:
            return Refusal(candidate.outputs[0].name, str(error))
        choice, linear = self.known[key]
        nodes = tuple(node.name for node in candidate.nodes)
        kernel = choice.name(kernels.selection.features)
        return Explained(nodes, print_subgraph(candidate.subgraph), canonical, kernel, linear)


def _choices(kernels: Kernels, candidate: Candidate) -> list[Choice]:
    """The kernels for the sizes that were traced; the general one where nothing is known of one."""
    shapes = [[_traced(size) for size in tensor(node).shape] for node in candidate.tensors]
    known = [[size for size in shape if size is not None] for shape in shapes]
    if known != shapes:
        return [kernels.selection.general]
    return kernels.selection.choices(interface_of(kernels.canonical).sizes(known), seen=())


def _traced(size: int | torch.SymInt) -> int | None:
    """A size while tracing; None if nothing was known of it."""
    found: int | None = traced_number(size) if isinstance(size, torch.SymInt) else size
    return found
