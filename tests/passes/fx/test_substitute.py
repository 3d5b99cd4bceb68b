from __future__ import annotations

import pytest
import torch
from torch import Tensor

from tests.passes.fx.attention_forms import FORMS, Form, Model, padding, qkv
from tests.passes.fx.support import Capture, dynamo, exported, graph_of, substitute_all


def _outputs(capture: Capture) -> list[Tensor]:
    result = capture.gm(*capture.arguments)
    return [result] if isinstance(result, Tensor) else list(result)


@pytest.mark.parametrize(
    ("form", "level"),
    [
        pytest.param(
            form,
            level,
            id=f"{level}-{form.name}",
            marks=[] if (number + turn) % 2 == 0 else [pytest.mark.long],
        )
        for number, form in enumerate(FORMS)
        for turn, level in enumerate(("dynamo", "export"))
    ],
)
def test_same_results(form: Form, level: str) -> None:
    inputs = form.inputs()
    if level == "dynamo":
        capture = graph_of(form.function, *inputs)
    else:
        capture = exported(Model(form.function), inputs)
    expected = form.function(*inputs)
    substitute_all(capture)
    (result,) = _outputs(capture)
    torch.testing.assert_close(result, expected, atol=1e-5, rtol=1e-4)
    left = [node.name for node in capture.gm.graph.nodes if "softmax" in node.name]
    assert not left


def test_chain_of_attentions() -> None:
    def stacked(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
        for _ in range(3):
            q = (q @ k.mT).masked_fill(~mask, -1e9).softmax(-1) @ v
        return q

    inputs = (*qkv(), padding())
    (capture,) = dynamo(stacked, *inputs)
    calls = substitute_all(capture)
    assert [call.args[0] for call in calls[1:]] == calls[:-1]
    torch.testing.assert_close(_outputs(capture)[0], stacked(*inputs), atol=1e-5, rtol=1e-4)


def test_shared_layouts_stay_while_they_are_read() -> None:
    def shared(q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        keys = k.transpose(2, 3)
        return (q @ keys).softmax(-1) @ v, keys

    inputs = qkv()
    capture = graph_of(shared, *inputs)
    (call,) = substitute_all(capture)
    assert any(node.target == "transpose" for node in capture.gm.graph.nodes)
    assert call.meta["example_value"].shape == (2, 4, 7, 8) or call.meta["example_value"].dim() == 4
    torch.testing.assert_close(_outputs(capture)[1], inputs[1].transpose(2, 3))


def test_unread_producers_go() -> None:
    form = next(form for form in FORMS if form.name == "sd_beta_zero")
    capture = graph_of(form.function, *form.inputs())
    substitute_all(capture)
    assert not any(node.target is torch.empty for node in capture.gm.graph.nodes)
