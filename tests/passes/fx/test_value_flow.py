from __future__ import annotations

import torch
from torch import Tensor

from snipjit.passes.fx.graph.value_flow import ValueFlow
from tests.passes.fx.support import graph_of


def _named(gm: torch.fx.GraphModule) -> dict[str, torch.fx.Node]:
    return {node.name: node for node in gm.graph.nodes}


def test_later_mentions_mean_the_changed_value() -> None:
    def changed(x: Tensor) -> Tensor:
        y = x.exp()
        y.mul_(2)
        y += 1
        return y.tanh()

    gm = graph_of(changed, torch.ones(3)).gm
    flow, nodes = ValueFlow(gm.graph), _named(gm)
    assert [reader.name for reader in flow.consumers(nodes["y"])] == ["mul_"]
    (tanh,) = (node for node in gm.graph.nodes if node.target == "tanh")
    (source,) = flow.operands(tanh)
    assert source.name == "y_1"
    assert flow.root(source) is nodes["y"]


def test_readers_before_the_change_keep_the_old_value() -> None:
    def early(x: Tensor) -> Tensor:
        y = x.exp()
        z = y.sin()
        y.mul_(2)
        return z + y

    gm = graph_of(early, torch.ones(3)).gm
    flow, nodes = ValueFlow(gm.graph), _named(gm)
    assert [reader.name for reader in flow.consumers(nodes["y"])] == ["z", "mul_"]


def test_changes_of_what_came_from_outside_are_visible() -> None:
    def outside(x: Tensor) -> Tensor:
        y = x.view(-1)
        y += 1
        return y.exp()

    gm = graph_of(outside, torch.ones(3)).gm
    flow, nodes = ValueFlow(gm.graph), _named(gm)
    why = flow.outlives(nodes["y_1"], [nodes["y_1"]])
    assert why is not None
    assert "made outside" in why
