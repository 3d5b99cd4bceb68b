"""What snipjit makes of a model: looks at each of its graphs as compilation does."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import fx
from torch.export import ExportedProgram

from snipjit.compiler import Kernels, optimize, with_weights
from snipjit.errors import InputError, UnsupportedError
from snipjit.frontend.costs import Costs, left_to_pytorch
from snipjit.frontend.files import load_pt2
from snipjit.frontend.options import Options
from snipjit.frontend.places import Places, place_of, readable
from snipjit.frontend.program import Target, lifted
from snipjit.frontend.report import Explained, Left, Report
from snipjit.frontend.size_names import dynamic_sizes
from snipjit.frontend.traced_sizes import traced_shapes
from snipjit.ir.description import describe
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
        explainer.graphs(lifted(exported).graph_module, grad=False)
        return explainer.report(dynamic_sizes(exported))

    def capture(gm: fx.GraphModule, example_inputs: list[Any]) -> Callable[..., Any]:
        explainer.graphs(gm, grad=True)
        runner: Callable[..., Any] = gm.forward
        return runner

    torch.compiler.reset()
    with _as_written(target):
        torch.compile(target, backend=capture, dynamic=True)(*args, **kwargs)
    return explainer.report()


def _as_written(target: Callable[..., Any]) -> AbstractContextManager[None]:
    """Meanwhile a model, or the model that a method belongs to, is not compiled in place."""
    model = target if isinstance(target, torch.nn.Module) else getattr(target, "__self__", None)
    return uncompiled(model) if isinstance(model, torch.nn.Module) else nullcontext()


@dataclass
class _Explainer:
    """Explains graphs; equal candidates are lowered once."""

    options: Options
    found: list[Explained | Refusal | Left] = field(default_factory=list)
    traced: int = 0
    known: dict[tuple[str, tuple[Choice, ...]], tuple[Choice, str]] = field(default_factory=dict)

    def report(self, sizes: Mapping[str, str] | None = None) -> Report:
        """What was found, sorted; with the range of each dynamic size."""
        return Report(
            tuple(item for item in self.found if isinstance(item, Explained)),
            tuple(item for item in self.found if isinstance(item, Refusal)),
            self.traced,
            tuple(pattern.name for pattern in self.options.patterns),
            tuple(item for item in self.found if isinstance(item, Left)),
            tuple(f"{names} in {allowed}" for names, allowed in (sizes or {}).items()),
        )

    def graphs(self, gm: fx.GraphModule, grad: bool) -> None:
        """Look at a graph and the bodies in it."""
        self.traced += 1
        for body in with_bodies(gm):
            self.graph(body, grad)

    def graph(self, gm: fx.GraphModule, grad: bool) -> None:
        """What becomes of each candidate of a graph, and what PyTorch runs."""
        tokenization = tokenize(gm, self.options.patterns)
        places, costs = Places(gm.graph), Costs()
        self.found += places.noted(tokenization.refusals)
        kernels: list[Candidate] = []
        for candidate in tokenization.candidates:
            if grad and needs_grad(gm, candidate):
                made: Explained | Refusal = candidate.refused(NEEDS_GRAD)
            else:
                made = self.candidate(candidate)
            if isinstance(made, Refusal):
                self.found.append(places.note(made))
                continue
            kernels.append(candidate)
            place, cost = str(place_of(candidate.outputs[0])), costs.of_candidate(candidate)
            self.found.append(replace(made, place=place, cost=cost))
        self.found += (
            Left(readable(node), place_of(node).short, costs.of_node(node))
            for node in left_to_pytorch(gm.graph, kernels)
        )

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
        form = describe(kernels.canonical).removeprefix(kernels.canonical.name).strip()
        return Explained(nodes, tokenized, canonical, kernel, linear, candidate.pattern, form)


def _choices(kernels: Kernels, candidate: Candidate, swapped: Mapping[int, bool]) -> list[Choice]:
    """The kernels for the sizes that were traced; the general one where nothing is known of one.

    ``swapped``: the weights that are prepared, and whether each is given as [k][n].
    """
    blocks = {number: (kernels.target.lanes, swap) for number, swap in swapped.items()}
    if (known := traced_shapes(candidate, blocks)) is None:
        return [kernels.selection.general]
    return kernels.selection.choices(interface_of(kernels.canonical).sizes(known), seen=())
