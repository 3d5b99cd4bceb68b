"""The backend for ``torch.compile``: what patterns find becomes kernels, the rest stays as is."""

from __future__ import annotations

import logging
import warnings
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import torch
from torch import fx

from snipjit.ahead import expect
from snipjit.compiler import compile_subgraph
from snipjit.errors import OptionError, UnsupportedError
from snipjit.frontend.caches import recycle_caches
from snipjit.frontend.chains import chain
from snipjit.frontend.options import Options
from snipjit.frontend.places import Places
from snipjit.frontend.recompilations import note_graph
from snipjit.frontend.recompile_limit import watch
from snipjit.frontend.statistics import record_refusal, record_subgraph
from snipjit.frontend.traced_sizes import traced_shapes
from snipjit.passes.fx import (
    NEEDS_GRAD,
    Candidate,
    Tokenization,
    forget,
    is_needed,
    needs_grad,
    own_nodes,
    substitute,
    tokenize,
    with_bodies,
)
from snipjit.passes.fx.graph.traceable import make_traceable
from snipjit.passes.fx.nodes.traced import traced_value
from snipjit.refusal import Refusal
from snipjit.runtime.collection import collection_paused
from snipjit.runtime.host import require_platform
from snipjit.runtime.interface import Shapes
from snipjit.runtime.kernel_cache import launcher_of
from snipjit.runtime.launcher import Launcher
from snipjit.runtime.library import define_op
from snipjit.runtime.structure import Structure
from snipjit.torch_private import check_version, compile_by_inductor

log = logging.getLogger(__name__)

KINDS = {"linear": "linear layers", "elementwise": "elementwise chains"}
"""What patterns find, in a message; others are called by their names."""

make_traceable()  # here, since torch imports this module before it traces a model for the backend


def backend(
    gm: fx.GraphModule,
    example_inputs: Sequence[Any],
    *,
    options: Mapping[str, Any] | None = None,
    mode: str | None = None,
) -> Callable[..., Any]:
    """Compile a Dynamo graph: ``torch.compile(model, backend="snipjit", options={...})``.

    Candidates that cannot be compiled keep their nodes; ``snipjit.stats().refusals`` says why.
    Raises OptionError for options that do not exist, UnsupportedError on systems but x86-64 Linux.
    """
    require_platform()
    check_version()
    watch()
    note_graph()
    chosen = Options.of(options)
    if mode not in (None, "default"):
        raise OptionError(f"mode={mode!r} is Inductor's; snipjit takes options={{'rest': ...}}")
    with collection_paused():
        for graph in with_bodies(gm):
            fuse(graph, chosen, is_called=True)
            if chosen.rest == "eager":
                chain(graph)
                recycle_caches(graph)
    if chosen.rest == "eager":
        return gm.forward
    return compile_by_inductor(gm, example_inputs)


def fuse(
    gm: fx.GraphModule, options: Options, grad: bool = True, is_called: bool = False
) -> Tokenization:
    """Replace every candidate of a graph that can be compiled; record those that cannot.

    ``grad=False`` says that the program never runs with gradients, ``is_called`` that a call of the
    sizes that were traced follows.
    """
    tokenization = tokenize(gm, options.patterns)
    places = Places(gm.graph)
    refused = places.noted(tokenization.refusals)
    fused: list[fx.Node] = []
    kinds: Counter[str] = Counter()
    # All before the first substitution, which takes nodes away.
    left = {c.outputs[0] for c in tokenization.candidates if grad and needs_grad(gm, c)}
    structures = _structures(
        [c for c in tokenization.candidates if c.outputs[0] not in left], options, is_called
    )
    for candidate in tokenization.candidates:
        if not is_needed(candidate):
            continue
        made = (
            candidate.refused(NEEDS_GRAD)
            if candidate.outputs[0] in left
            else _launcher(candidate, structures[_same(candidate)], options)
        )
        if isinstance(made, Refusal):
            refused.append(places.note(made))
            continue
        substitute(gm, candidate, _target(made, candidate, options))
        record_subgraph(candidate.pattern)
        fused += candidate.nodes
        kinds[candidate.pattern] += 1
    for opening in tokenization.openings:
        opening.close(fused)
    _report(refused, kinds)
    forget(gm)
    gm.graph.lint()
    gm.recompile()
    return tokenization


Same = tuple[int, ...]


def _same(candidate: Candidate) -> Same:
    """What candidates have in common that share a Structure."""
    return (id(candidate.subgraph), *candidate.weights)


def _structures(
    candidates: Sequence[Candidate], options: Options, is_called: bool
) -> dict[Same, Structure | UnsupportedError]:
    """The structures of candidates, or why there is none; equal candidates share one.

    If they are called next, their kernels are compiled together.
    """
    found: dict[Same, Structure | UnsupportedError] = {}
    expected: dict[Structure, Shapes] = {}
    for candidate in candidates:
        same = _same(candidate)
        if same not in found:
            found[same] = structure = _structure(candidate, options)
            if is_called and isinstance(structure, Structure):
                blocks = {number: (f.block, f.swapped) for number, f in structure.forms.items()}
                if (shapes := traced_shapes(candidate, blocks)) is not None:
                    expected[structure] = shapes
    expect(expected)
    return found


def _structure(candidate: Candidate, options: Options) -> Structure | UnsupportedError:
    prepare = options.weights == "prepared"
    try:
        return compile_subgraph(candidate.subgraph, weights=candidate.weights, prepare=prepare)
    except UnsupportedError as error:
        return error


def _launcher(
    candidate: Candidate, structure: Structure | UnsupportedError, options: Options
) -> Launcher | Refusal:
    """The launcher of a candidate, or why there is none.

    Inductor lays out results as kernels do: there PyTorch's nodes take no kernel's place.
    """
    if isinstance(structure, UnsupportedError):
        return candidate.refused(structure)
    wanted = structure.selection.has_nodes and options.rest == "eager"
    try:
        return launcher_of(structure, own_nodes(candidate) if wanted else None)
    except UnsupportedError as error:
        return candidate.refused(error)


def _report(refused: Sequence[Refusal], fused: Mapping[str, int]) -> None:
    """Record refusals; warn of what needs gradients, or where all of a kind was refused.

    ``fused`` counts the kernels of each kind.
    """
    found = ", ".join(f"{count} {kind}" for kind, count in fused.items()) or "nothing"
    log.info("%s of a graph fused, %d refused", found, len(refused))
    for refusal in refused:
        record_refusal(refusal)
        log.info("refused: %s", refusal)
    told = [refusal for refusal in refused if not refusal.is_expected]
    first = [refusal for refusal in told if refusal.reason == NEEDS_GRAD] or [
        refusal for refusal in told if refusal.pattern not in fused
    ]
    if first:
        reason = first[0].reason
        alike = dict.fromkeys(refusal.pattern for refusal in first if refusal.reason == reason)
        kinds = " and ".join(KINDS.get(pattern, pattern) for pattern in alike)
        what = f"all {kinds} of a graph" if alike.keys().isdisjoint(fused) else kinds
        warnings.warn(
            f"snipjit left {what} to PyTorch: {reason} (snipjit.explain lists it)",
            stacklevel=3,
        )


def _target(launcher: Launcher, candidate: Candidate, options: Options) -> Callable[..., Any]:
    """What the graph calls: the launcher itself, or the op that Inductor can trace."""
    if options.rest == "eager":
        return launcher.call
    types = ["Tensor" if _is_tensor(scalar) else "float" for scalar in candidate.scalars]
    return cast(Callable[..., Any], define_op(launcher, types))


def _is_tensor(scalar: object) -> bool:
    if not isinstance(scalar, fx.Node):
        return False
    return isinstance(traced_value(scalar), torch.Tensor)
