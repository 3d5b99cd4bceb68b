from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from snipjit.passes.fx import with_bodies
from tests.passes.fx.support import graph_of


def _inner(x: Tensor) -> Tensor:
    return x.sin()


def _checkpointed(x: Tensor) -> Any:
    return checkpoint(_inner, x, use_reentrant=False) + 1


def _in_another_mode(x: Tensor) -> Any:
    with torch.enable_grad():
        return _checkpointed(x)


def test_bodies_of_checkpoints() -> None:
    assert len(with_bodies(graph_of(_checkpointed, torch.ones(3)).gm)) == 2
    assert len(with_bodies(graph_of(_in_another_mode, torch.ones(3)).gm)) == 1
    assert len(with_bodies(graph_of(_inner, torch.ones(3)).gm)) == 1
