"""A bias whose heads are innermost in memory is laid out once for the kernels that read it."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, fx

from tests.passes.fx.attention_forms import Model, qkv
from tests.passes.fx.support import Capture, dynamo, exported, substitute_all


def _clones(capture: Capture) -> list[fx.Node]:
    return [node for node in capture.gm.graph.nodes if node.target == "clone"]


def _attention(q: Tensor, k: Tensor, v: Tensor, bias: Tensor) -> Tensor:
    return (q @ k.mT + bias).softmax(-1) @ v


def _two_layers(q: Tensor, k: Tensor, v: Tensor, found: Tensor) -> Tensor:
    bias = found.permute(2, 0, 1)
    return _attention(_attention(q, k, v, bias), k, v, bias)


def _inputs() -> tuple[Tensor, ...]:
    q, k, v = qkv()
    return q, k, v, torch.randn(q.shape[2], k.shape[2], q.shape[1])


@pytest.mark.parametrize("level", ["dynamo", "export"])
def test_one_clone_for_all_layers(level: str) -> None:
    inputs = _inputs()
    if level == "dynamo":
        (capture,) = dynamo(_two_layers, *inputs)
    else:
        capture = exported(Model(_two_layers), inputs)
    calls = substitute_all(capture)
    (clone,) = _clones(capture)
    assert [call.args.index(clone) for call in calls] == [3, 3]
    _check(capture, _two_layers(*inputs))


def test_a_clone_behind_all_inputs() -> None:
    def one(q: Tensor, bias: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return _attention(q, k, v, bias)

    q, k, v, found = _inputs()
    inputs = q, found.permute(2, 0, 1), k, v
    (capture,) = dynamo(one, *inputs)
    substitute_all(capture)
    (clone,) = _clones(capture)
    assert clone.prev.op == "placeholder"
    is_input = [node.op == "placeholder" for node in capture.gm.graph.nodes]
    assert is_input == sorted(is_input, reverse=True)
    _check(capture, one(*inputs))


def test_what_is_written_in_between_is_laid_out_anew() -> None:
    def changed(q: Tensor, k: Tensor, v: Tensor, found: Tensor) -> Tensor:
        own = found + 1
        bias = own.permute(2, 0, 1)
        first = _attention(q, k, v, bias)
        own.mul_(3)
        return _attention(first, k, v, bias)

    inputs = _inputs()
    (capture,) = dynamo(changed, *inputs)
    substitute_all(capture)
    assert len(_clones(capture)) == 2
    _check(capture, changed(*inputs))


@pytest.mark.parametrize("order", [(0, 1, 2), (0, 2, 1), (1, 0, 2)])
def test_others_are_read_where_they_lie(order: tuple[int, ...]) -> None:
    def one(q: Tensor, k: Tensor, v: Tensor, found: Tensor) -> Tensor:
        return _attention(q, k, v, found.permute(*order))

    q, k, v = qkv()
    sizes = q.shape[1], q.shape[2], k.shape[2]
    inputs = q, k, v, torch.randn([sizes[order.index(dim)] for dim in range(3)])
    (capture,) = dynamo(one, *inputs)
    substitute_all(capture)
    assert not _clones(capture)
    _check(capture, one(*inputs))


def _check(capture: Capture, expected: Tensor) -> None:
    result = capture.gm(*capture.arguments)
    (found,) = [result] if isinstance(result, Tensor) else result
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)
