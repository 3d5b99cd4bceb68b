"""Writes into parts of scores and weights: fused with eager's results, or left alone."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
from torch import Tensor

import snipjit
from snipjit.passes.fx import forget
from snipjit.passes.fx.graph.head_scale import Length
from snipjit.passes.fx.nodes.in_place import mutated
from snipjit.passes.fx.nodes.written import written
from tests.passes.fx.support import (
    Capture,
    assert_equal_to_eager,
    exported,
    graph_of,
    substitute_all,
)
from tests.passes.fx.written_forms import FUSED, Form, input_is_written
from tests.passes.fx.written_names import NAMED
from tests.passes.fx.written_near_misses import CLEAR_WORDS

LENGTHS = (13, 17, 1)


class Model(torch.nn.Module):
    def __init__(self, form: Form) -> None:
        super().__init__()
        self.form = form

    def forward(self, *args: Tensor) -> Any:
        return self.form(*args)


def inputs(length: int) -> tuple[Tensor, ...]:
    """Queries, keys, values, and a mask that hides the whole of a row and of no other."""
    torch.manual_seed(length)
    mask = torch.rand(length, length) > 0.4
    mask[length // 2] = True
    q, k, v = (torch.randn(2, 4, length, 16) for _ in range(3))
    return q, k, v, mask


def captured(form: Form, kind: str) -> Capture:
    if kind == "dynamic":
        return graph_of(form, *inputs(13))
    return exported(Model(form), inputs(13), functional=kind == "functional")


def _long(kind: str) -> Any:
    return pytest.param(kind, marks=pytest.mark.long)


KINDS = ("dynamic", "exported", _long("functional"))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("form", [*FUSED, *NAMED], ids=lambda form: form.__name__)
def test_graphs(form: Form, kind: str) -> None:
    capture = captured(form, kind)
    assert capture.candidate
    assert_equal_to_eager(capture)
    gm = capture.gm
    arguments = [a.clone() if isinstance(a, Tensor) else a for a in capture.arguments]
    expected = gm(*arguments)
    covered = set(capture.candidate.nodes)
    writes = [node for node in gm.graph.nodes if mutated(node) is not None and node in covered]
    substitute_all(capture)
    forget(gm)
    gm.graph.lint()
    gm.recompile()
    left = set(gm.graph.nodes)
    assert not left.intersection(writes)
    assert not any(node.target is written for node in left)
    torch.testing.assert_close(gm(*arguments), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", ["dynamic", "exported"])
@pytest.mark.parametrize("form", CLEAR_WORDS, ids=lambda form: form.__name__)
def test_refused_graphs_keep_their_meaning(form: Form, kind: str) -> None:
    capture = captured(form, kind)
    if kind == "dynamic":
        assert re.search(CLEAR_WORDS[form], capture.reason), capture.reason
    substitute_all(capture)
    forget(capture.gm)
    capture.gm.recompile()
    assert not any(node.target is written for node in capture.gm.graph.nodes)
    (result, *_), (expected, *_) = (
        found if isinstance(found, tuple) else (found,)
        for found in (capture.gm(*capture.arguments), form(*inputs(13)))
    )
    torch.testing.assert_close(result, expected)


@pytest.mark.usefixtures("fresh")
@pytest.mark.parametrize("kind", [*map(_long, ("static", "exported")), "dynamic"])
@pytest.mark.parametrize("form", [*FUSED, *NAMED], ids=lambda form: form.__name__)
def test_kernels(form: Form, kind: str) -> None:
    if kind == "exported":
        compiled: Any = snipjit.compile(Model(form), inputs(13))
    else:
        compiled = torch.compile(form, backend="snipjit", dynamic=kind == "dynamic")
    for length in LENGTHS[: 2 if kind == "exported" else 3]:
        _compare(compiled, form, length)
    assert snipjit.stats().subgraphs >= 1
    assert not snipjit.stats().refusals


@pytest.mark.usefixtures("fresh")
@pytest.mark.parametrize("dynamic", [False, True])
@pytest.mark.parametrize("form", CLEAR_WORDS, ids=lambda form: form.__name__)
def test_near_misses(form: Form, dynamic: bool) -> None:
    compiled = torch.compile(form, backend="snipjit", dynamic=dynamic)
    for length in LENGTHS:
        _compare(compiled, form, length)


def _compare(compiled: Any, form: Form, length: int) -> None:
    tensors = inputs(length)
    ours, theirs = ([x.clone() for x in tensors] for _ in range(2))
    with torch.inference_mode():
        result, expected = compiled(*ours), form(*theirs)
    torch.testing.assert_close(result, expected, rtol=1e-4, atol=1e-5, equal_nan=True)
    for own, right in zip(ours, theirs, strict=True):
        assert torch.equal(own, right)


@pytest.mark.usefixtures("fresh")
def test_inputs_are_written() -> None:
    compiled = torch.compile(input_is_written, backend="snipjit")
    q, k, v, m = inputs(13)
    with torch.inference_mode():
        compiled(q, k, v, m)
    assert not k[:, 0].any()


def test_the_size_of_a_dim_is_a_number_of_the_call() -> None:
    def last(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        s = q @ k.mT
        s[..., -1] = -1e9
        return s.softmax(-1) @ v

    capture = graph_of(last, *inputs(13)[:3])
    (number,) = (scalar for scalar in capture.candidate.scalars if isinstance(scalar, Length))
    assert number.dim in (2, -2)
    (call,) = substitute_all(capture)
    assert "size" in [source.target for source in call.all_input_nodes]
