"""Captures FX graphs as a backend or an exporter sees them, and runs candidates on real values."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import fx

from snipjit.ir.interpret.subgraph import interpret
from snipjit.ir.subgraph import Subgraph
from snipjit.ir.verify.subgraph import verify_positional
from snipjit.passes.base import run_pipeline
from snipjit.passes.fx import Candidate, Tokenization, substitute, tokenize
from snipjit.passes.fx.graph.candidate import Number
from snipjit.passes.fx.graph.head_scale import HeadScale, Length
from snipjit.passes.fx.graph.traceable import make_traceable
from snipjit.passes.fx.patterns.attention import Attention
from snipjit.passes.graph import PIPELINE

make_traceable()


@dataclass
class Capture:
    """One graph with the arguments of its first call."""

    gm: fx.GraphModule
    arguments: tuple[Any, ...] = ()
    tokens: Tokenization = field(init=False)

    def __post_init__(self) -> None:
        self.tokens = tokenize(self.gm, [Attention()])

    @property
    def candidate(self) -> Candidate:
        """The only candidate."""
        reasons = [refusal.reason for refusal in self.tokens.refusals]
        assert len(self.tokens.candidates) == 1, reasons
        return self.tokens.candidates[0]

    @property
    def reason(self) -> str:
        """Why the only anchor was refused."""
        assert not self.tokens.candidates
        (refusal,) = self.tokens.refusals
        return refusal.reason

    @property
    def ops(self) -> list[str]:
        """The operations of the only candidate, without parameters, scalars and result."""
        outer = ("parameter", "scalar", "result")
        return [node.op for node in self.candidate.subgraph.nodes if node.op not in outer]


def dynamo(
    model: Callable[..., Any], *args: Any, dynamic: bool | None = True, **kwargs: Any
) -> list[Capture]:
    """The graphs that ``torch.compile`` hands to a backend, without gradients."""
    captures: list[Capture] = []

    def backend(gm: fx.GraphModule, _: Sequence[Any]) -> Callable[..., Any]:
        capture = Capture(gm)
        captures.append(capture)

        def run(*arguments: Any) -> Any:
            capture.arguments = arguments
            return gm(*(a.clone() if isinstance(a, torch.Tensor) else a for a in arguments))

        return run

    torch._dynamo.reset()
    with torch.no_grad():
        torch.compile(model, backend=backend, dynamic=dynamic)(*args, **kwargs)
    return captures


def graph_of(model: Callable[..., Any], *args: Any, **kwargs: Any) -> Capture:
    """The only graph of a model."""
    (capture,) = dynamo(model, *args, **kwargs)
    return capture


def exported(
    model: torch.nn.Module,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any] | None = None,
    *,
    functional: bool = True,
) -> Capture:
    """The ATen graph of an exported program, all dims dynamic where they can be.

    Unless it is to be ``functional``, its ops in place stay.
    """

    def auto(value: Any) -> Any:
        if not isinstance(value, torch.Tensor):
            return None
        return dict.fromkeys(range(value.dim()), torch.export.Dim.AUTO)

    named = {name: auto(value) for name, value in (kwargs or {}).items()}
    shapes = {"args": tuple(map(auto, args)), **named} if args else named
    with torch.no_grad():
        program = torch.export.export(model, args, dict(kwargs or {}), dynamic_shapes=shapes)
        program = program.run_decompositions({}) if functional else program
    state = [_input(program, spec) for spec in program.graph_signature.input_specs]
    real = iter([*args, *(kwargs or {}).values()])
    arguments = tuple(next(real) if value is None else value for value in state)
    return Capture(program.graph_module, arguments)


def _input(program: torch.export.ExportedProgram, spec: Any) -> Any:
    if spec.target is None:
        return None
    return {**program.state_dict, **program.constants}[spec.target]


class _Recorder(fx.Interpreter):
    """Runs a graph and keeps a copy of every value as it was when it was made."""

    def __init__(self, gm: fx.GraphModule) -> None:
        super().__init__(gm)
        self.values: dict[fx.Node, Any] = {}

    def run_node(self, n: fx.Node) -> Any:
        result = super().run_node(n)
        self.values[n] = result.clone() if isinstance(result, torch.Tensor) else result
        return result


def assert_equal_to_eager(capture: Capture, atol: float = 1e-5) -> None:
    """Each candidate's Subgraph is legal and means what its nodes compute, in both forms."""
    recorder = _Recorder(capture.gm)
    with torch.no_grad():
        recorder.run(*capture.arguments)
    for candidate in capture.tokens.candidates:
        verify_positional(candidate.subgraph)
        tensors = [recorder.values[node].numpy() for node in candidate.tensors]
        tensors = [t.astype(np.float32) if t.dtype.kind in "iu" else t for t in tensors]
        # As CallArgs hold them.
        scalars = [float(np.float32(_number(s, recorder.values))) for s in candidate.scalars]
        expected = [recorder.values[output] for output in candidate.outputs]
        for subgraph in _forms(candidate.subgraph):
            results = interpret(subgraph, tensors, scalars)
            for result, right in zip(results, expected, strict=True):
                np.testing.assert_allclose(result, right.numpy(), atol=atol, rtol=1e-4)
        for node, right in zip(candidate.subgraph.results, expected, strict=True):
            ordered = right.permute(node.attrs["order"])
            assert ordered.is_contiguous(), (right.stride(), node.attrs["order"])


def _number(scalar: Number, values: Mapping[fx.Node, Any]) -> float:
    if isinstance(scalar, Length):
        return float(values[scalar.query].shape[scalar.dim])
    if isinstance(scalar, HeadScale):
        return float(values[scalar.query].shape[-1] ** -0.5)
    return float(values[scalar] if isinstance(scalar, fx.Node) else scalar)


def _forms(subgraph: Subgraph) -> list[Subgraph]:
    canonical: Subgraph = run_pipeline(PIPELINE, subgraph)
    # The interpreter cannot size the axes of an expand that only a positional sdpa meets.
    sized = not (subgraph.of("sdpa") and subgraph.of("expand"))
    return [subgraph, canonical] if sized else [canonical]


def substitute_all(capture: Capture) -> list[fx.Node]:
    """Put stand-ins for kernels in the place of all candidates of a graph; the calls."""
    gm = capture.gm
    calls = [substitute(gm, c, _stand_in(c)) for c in capture.tokens.candidates]
    gm.graph.lint()
    gm.recompile()
    return calls


def _stand_in(candidate: Candidate) -> Callable[..., Any]:
    """The interpreter in the form of a kernel, with the memory order of each result."""
    count = len(candidate.tensors)

    def run(*arguments: Any) -> Any:
        scalars = [float(argument) for argument in arguments[count:]]
        tensors = [tensor.numpy() for tensor in arguments[:count]]
        values = interpret(candidate.subgraph, tensors, scalars)
        pairs = zip(values, candidate.subgraph.results, strict=True)
        results = [_laid_out(value, node.attrs["order"]) for value, node in pairs]
        return results[0] if len(results) == 1 else tuple(results)

    return run


def _laid_out(value: Any, order: tuple[int, ...]) -> torch.Tensor:
    result = torch.from_numpy(value)
    result = result if result.dtype == torch.bool else result.float()
    return result.permute(order).contiguous().permute([order.index(i) for i in range(len(order))])
