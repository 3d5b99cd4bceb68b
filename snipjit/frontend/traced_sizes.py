"""The sizes that a model was traced with: those of the call that follows."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from snipjit.passes.fx import Candidate
from snipjit.passes.fx.nodes.traced import tensor
from snipjit.runtime.interface import Ints
from snipjit.runtime.prepared_weights import shape_of_blocks
from snipjit.torch_private import traced_number


def traced_shapes(
    candidate: Candidate, blocks: Mapping[int, tuple[int, bool]]
) -> tuple[Ints, ...] | None:
    """The shapes of a candidate's tensors; None where nothing is known of a size.

    Of tensors that are prepared, by their numbers: the columns of a ``block``, and whether they are
    given as [k][n].
    """
    shapes = []
    for number, node in enumerate(candidate.tensors):
        sizes = [_traced(size) for size in tensor(node).shape]
        known = tuple(size for size in sizes if size is not None)
        if len(known) < len(sizes):
            return None
        shapes.append(shape_of_blocks(known, *blocks[number]) if number in blocks else known)
    return tuple(shapes)


def _traced(size: int | torch.SymInt) -> int | None:
    """A size while tracing; None if nothing was known of it."""
    found: int | None = traced_number(size) if isinstance(size, torch.SymInt) else size
    return found
