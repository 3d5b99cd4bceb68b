from __future__ import annotations

import pytest
import torch
from torch import Tensor

from tests.passes.fx.attention_forms import Form, Model, qkv
from tests.passes.fx.more_forms import MORE
from tests.passes.fx.product_forms import PRODUCT_FORMS
from tests.passes.fx.support import assert_equal_to_eager, exported, graph_of

FORMS = (*MORE, *PRODUCT_FORMS)


def _is_subsequence(wanted: tuple[str, ...], found: list[str]) -> bool:
    rest = iter(found)
    return all(op in rest for op in wanted)


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.name)
def test_dynamo_graphs(form: Form) -> None:
    dynamic = graph_of(form.function, *form.inputs())
    assert _is_subsequence(form.expected, dynamic.ops), dynamic.ops
    assert_equal_to_eager(dynamic)


@pytest.mark.long
@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.name)
def test_exported_graphs(form: Form) -> None:
    inputs = form.inputs()
    dynamic = graph_of(form.function, *inputs)
    aten = exported(Model(form.function), inputs)
    assert aten.candidate.subgraph.nodes == dynamic.candidate.subgraph.nodes


class Dims:
    """Ints that a dynamic graph has as symbols, since no module holds them."""

    def __init__(self) -> None:
        self.axes, self.heads, self.groups = [-2, -1], 1, 2

    def softmax(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        weights = (q @ k.transpose(*self.axes)).softmax(self.axes[1])
        return (weights @ v).unsqueeze(self.heads).movedim(self.heads, self.heads + 1)

    def written_out(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        v = v.transpose_(self.heads, self.groups).transpose(self.heads, self.groups)
        k, v = (t.repeat_interleave(self.groups, dim=self.heads) for t in (k, v))
        scores = q @ k.mT
        weights = (scores - scores.amax(self.axes[1], keepdim=True)).exp()
        return weights / weights.sum(dim=self.axes[1:], keepdim=True) @ v

    def sink(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        scores = q @ k.mT
        joined = torch.cat((scores, torch.zeros_like(scores[..., :1])), self.axes[1])
        return joined.softmax(dim=self.axes[1])[..., :-1] @ v

    def contraction(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        q, k, v = (t.flatten(0, 2) for t in (q, k, v))
        weights = torch.tensordot(q, k, dims=([self.heads], [self.heads])).softmax(-1)
        result: Tensor = torch.tensordot(weights, v, self.heads)
        return result


@pytest.mark.parametrize("name", ["softmax", "written_out", "sink", "contraction"])
def test_dims_that_are_symbols(name: str) -> None:
    function = getattr(Dims(), name)
    heads = 2 if name == "written_out" else 4
    inputs = [t.clone() for t in qkv(4, 9, heads)]
    dynamic = graph_of(function, *inputs)
    symbols = [node for node in dynamic.gm.graph.nodes if node.target == "L_self_heads"]
    assert symbols or name == "sink"
    assert "matmul" in dynamic.ops
    assert_equal_to_eager(dynamic)
