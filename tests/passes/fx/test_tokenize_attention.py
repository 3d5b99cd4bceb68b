from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from snipjit.ir.text.subgraph import print_subgraph
from tests.passes.fx.attention_forms import FORMS, Form, Model, bert, llama, padding, qkv
from tests.passes.fx.support import assert_equal_to_eager, dynamo, exported, graph_of

forms = pytest.mark.parametrize("form", FORMS, ids=lambda form: form.name)


def _is_subsequence(wanted: tuple[str, ...], found: list[str]) -> bool:
    rest = iter(found)
    return all(op in rest for op in wanted)


@forms
@pytest.mark.parametrize("dynamic", [True, False])
def test_dynamo_graphs(form: Form, dynamic: bool) -> None:
    capture = graph_of(form.function, *form.inputs(), dynamic=dynamic)
    assert _is_subsequence(form.expected, capture.ops), capture.ops
    assert_equal_to_eager(capture)


@pytest.mark.long
@forms
def test_exported_graphs(form: Form) -> None:
    capture = exported(Model(form.function), form.inputs())
    assert _is_subsequence(form.expected, capture.ops), capture.ops
    assert_equal_to_eager(capture)


@pytest.mark.parametrize(
    "form",
    [
        pytest.param(form, id=form.name, marks=[] if number % 2 else [pytest.mark.long])
        for number, form in enumerate(FORMS)
    ],
)
def test_one_structure_for_every_trace(form: Form) -> None:
    """Static, dynamic and exported traces give equal Subgraphs, but for the head dimension."""
    inputs = form.inputs()
    dynamic = graph_of(form.function, *inputs, dynamic=True).candidate.subgraph
    static = graph_of(form.function, *inputs, dynamic=False).candidate.subgraph
    aten = exported(Model(form.function), inputs).candidate.subgraph
    assert dynamic.nodes == static.nodes == aten.nodes
    assert list(dynamic.axes) == list(static.axes) == list(aten.axes)


def test_golden_bert(golden: Any) -> None:
    inputs = FORMS[0].inputs()
    golden(print_subgraph(graph_of(bert, *inputs).candidate.subgraph))


def test_golden_llama(golden: Any) -> None:
    inputs = FORMS[1].inputs()
    golden(print_subgraph(graph_of(llama, *inputs).candidate.subgraph))


def test_golden_llama_of_bfloat16(golden: Any) -> None:
    """Every rounding of eager is there; PropagatePrecision decides about them."""
    q, k, v, mask = FORMS[1].inputs()
    args = (q.bfloat16(), k.bfloat16(), v.bfloat16(), mask)
    golden(print_subgraph(graph_of(llama, *args).candidate.subgraph))


def test_golden_autocast(golden: Any) -> None:
    """Products under autocast convert their operands."""

    def autocast(*args: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return llama(*args)

    golden(print_subgraph(graph_of(autocast, *FORMS[1].inputs()).candidate.subgraph))


def test_layers_are_equal() -> None:
    def layers(x: Tensor, mask: Tensor) -> Tensor:
        for scale in (0.25, 0.5, 1.0):
            q = (x * scale).view(2, -1, 4, 8).transpose(1, 2)
            x = x + bert(q.transpose(1, 2).flatten(2), x, x + 1, mask)
        return x

    (capture,) = dynamo(layers, torch.randn(2, 9, 32), padding())
    assert len(capture.tokens.candidates) == 3
    assert len({print_subgraph(c.subgraph) for c in capture.tokens.candidates}) == 1
    assert_equal_to_eager(capture)


def test_stacked_without_projections() -> None:
    def stacked(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        first = ((q @ k.mT).softmax(-1) @ v).transpose(1, 2)
        return (first.transpose(1, 2) @ k.mT).softmax(-1) @ v

    capture = graph_of(stacked, *qkv())
    first, second = capture.tokens.candidates
    assert second.tensors[0] in first.nodes
    assert second.tensors[0] in first.outputs
    assert_equal_to_eager(capture)


def test_static_sizes_are_those_of_heads() -> None:
    subgraph = graph_of(bert, *FORMS[0].inputs(), dynamic=False).candidate.subgraph
    static = {axis: size for axis, size in subgraph.axes.items() if size is not None}
    assert static == {"a2_1": 8, "b2_1": 8, "c2_1": 8}


def test_ones() -> None:
    subgraph = graph_of(FORMS[0].function, *FORMS[0].inputs()).candidate.subgraph
    assert [dict(node.attrs) for node in subgraph.parameters] == [{}, {}, {}, {"ones": (1, 2)}]


def test_scalars_from_anywhere() -> None:
    class Scaled(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = 0.37
            self.cap = torch.nn.Buffer(torch.tensor(30.0))

        def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            scores = torch.tanh(q @ k.mT * self.scale / self.cap) * self.cap
            return torch.softmax(scores * (1 / q.shape[2]) + 2, -1) @ v

    capture = graph_of(Scaled(), *qkv())
    assert len(capture.candidate.scalars) == 5
    assert_equal_to_eager(capture)


def _same_tensor(q: Tensor) -> Tensor:
    return (q @ q.mT).softmax(-1) @ q


def test_one_tensor_in_three_roles() -> None:
    capture = graph_of(_same_tensor, qkv()[0])
    assert len(set(capture.candidate.tensors)) == 1
    assert len(capture.candidate.tensors) == 3
    assert_equal_to_eager(capture)


def test_result_that_is_split_stays_outside() -> None:
    def split(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return F.scaled_dot_product_attention(q, k, v).view(2, 4, 7, 2, 4)

    capture = graph_of(split, *qkv())
    assert capture.candidate.outputs[0].name.startswith("scaled_dot")


@pytest.mark.parametrize("last", itertools.islice(itertools.permutations(range(4)), 0, 24, 5))
def test_order_of_results_is_that_of_eager(last: tuple[int, ...]) -> None:
    def permuted(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return ((q @ k.mT).softmax(-1) @ v).permute(last)

    capture = graph_of(permuted, *qkv(), dynamic=False)
    assert_equal_to_eager(capture)
    order = capture.candidate.subgraph.results[0].attrs["order"]
    assert [last[dim] for dim in order] == [0, 1, 2, 3]
