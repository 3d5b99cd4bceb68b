from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import snipjit
from tests.passes.fx.attention_forms import qkv
from tests.passes.fx.support import assert_equal_to_eager, graph_of


def unread_view(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    scores = q @ k.mT
    scores.view(8, 7, 9).transpose(1, 2)  # a result that the caller drops
    return (scores + 1).softmax(-1) @ v


def bias_like_scores(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    scores = torch.matmul(q * 0.3, k.transpose(-2, -1))
    bias = q.sum(-1).reshape(2, 4, 7, 1, 1) + torch.arange(9.0).view(1, 1, 1, 3, 3)
    return (scores + bias.reshape_as(scores)).softmax(-1) @ v


@pytest.mark.parametrize("dynamic", [True, False])
def test_data_flow_is_that_of_values(dynamic: bool) -> None:
    for function in (unread_view, bias_like_scores):
        capture = graph_of(function, *qkv(), dynamic=dynamic)
        assert capture.candidate
        assert_equal_to_eager(capture)


def test_sizes_are_those_of_the_call() -> None:
    """Where no literal and no single unknown size tells the shape, the operands do."""

    def tables(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        scores = q @ k.mT
        bias = (q.mean(-1)[..., None] + k.mean(-1)[..., None, :]).flatten(2)
        return (scores + bias.view_as(scores)).softmax(-1) @ v

    snipjit.reset_stats()
    torch._dynamo.reset()
    compiled = torch.compile(tables, backend="snipjit", dynamic=True, fullgraph=True)
    with torch.inference_mode():
        for heads, keys in ((4, 9), (3, 17)):
            inputs = qkv(heads, keys)
            torch.testing.assert_close(compiled(*inputs), tables(*inputs))
    assert snipjit.stats().subgraphs == 1


def test_what_has_an_effect_stays() -> None:
    def effects(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        scores = q @ k.mT
        scores.mul_(2)
        F.dropout(q, 0.5)
        return scores.softmax(-1) @ v

    capture = graph_of(effects, *qkv())
    assert_equal_to_eager(capture)
    assert any("dropout" in node.name for node in capture.gm.graph.nodes)
    assert "mul" in capture.ops


class Dropping(torch.nn.Module):
    """Dropout whose probability Dynamo hands over as a symbol."""

    probability = 0.0

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Both forms, one after the other."""
        first = F.scaled_dot_product_attention(q, k, v, dropout_p=self.probability)
        return F.dropout((first @ k.mT).softmax(-1), self.probability, True) @ v


def test_symbolic_dropout_is_off_where_it_is_zero() -> None:
    torch._dynamo.reset()
    snipjit.reset_stats()
    model, inputs = Dropping(), qkv()
    compiled = torch.compile(model, backend="snipjit", dynamic=True)
    with torch.inference_mode():
        torch.testing.assert_close(compiled(*inputs), model(*inputs))
        assert snipjit.stats().subgraphs == 2
        model.probability = 0.5
        compiled(*inputs)
    assert snipjit.stats().subgraphs == 2
    assert len(snipjit.stats().refusals) == 2
