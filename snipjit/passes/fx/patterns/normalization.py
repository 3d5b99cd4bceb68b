"""Normalizations, as PyTorch names them or written out, and the elementwise chains around them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from math import prod

import torch
from torch import fx

from snipjit.ir.operations import kind_of
from snipjit.passes.fx.graph.convex import joins
from snipjit.passes.fx.graph.value_flow import ValueFlow
from snipjit.passes.fx.lift.gathers import is_gather
from snipjit.passes.fx.lift.lifter import Lifter
from snipjit.passes.fx.lift.translate_normalizations import NORMALIZATIONS, STATISTICS
from snipjit.passes.fx.lift.translate_reductions import REDUCTIONS, dims_of
from snipjit.passes.fx.nodes.calls import Call, lookup, spelled
from snipjit.passes.fx.nodes.refused import ExpectedError, RefusedError
from snipjit.passes.fx.nodes.traced import (
    Size,
    is_one,
    is_tensor,
    literal,
    normal_dim,
    same,
    tensor,
)
from snipjit.passes.fx.patterns.pattern import CHEAP, Pattern, Region, is_pointwise, refuse_empty

SOFTMAXES = ("softmax", "log_softmax", "safe_softmax", "softmin")
OVER_A_DIM = (*STATISTICS, *REDUCTIONS)


class Normalization(Pattern):
    """A normalization of rows, what is computed of its elements, and what its input is summed of.

    Before:  %s = add(%x, %r); %y = layer_norm(%s, (8,), %w, %b); return y, s
    After:   %a, %b, %c, %d = parameter …; %0 = add %a %b; %1 = reduce_dims %0; …; %11 = add %10 %d
             result %11; result %0

    Written out it begins with a statistic over some dims, which comes back to the elements. What
    its input is summed of may be read by index (``gathers.py``), as embeddings are.
    """

    name = "normalization"
    has_masks = False

    def is_anchor(self, flow: ValueFlow, node: fx.Node) -> bool:
        """Whether a node normalizes, or is the first statistic of a normalization."""
        call = lookup(node)
        if call is None:
            return False
        if call.op in OVER_A_DIM:
            meets = _comes_back(flow, node, call) or _pools(node, call)
            return is_tensor(call.get("input")) and meets
        return call.op in (*NORMALIZATIONS, *SOFTMAXES)

    def regions(
        self, flow: ValueFlow, anchor: fx.Node, taken: Collection[fx.Node]
    ) -> Sequence[Region]:
        """With what is above and below it, with what is below, with what can run where it is."""
        rows = _Rows.of(anchor)
        ways = [(True, True), (False, True), (False, False)]
        found = (_Growth(flow, rows, taken, *way).region(anchor) for way in ways)
        regions = tuple(dict.fromkeys(found))
        regions = tuple(region for region in regions if region.nodes != (anchor,) or _pays(anchor))
        if not regions:
            raise ExpectedError(
                f"`{anchor.name}` ({spelled(anchor)}) stands alone, which PyTorch does as fast; "
                "accepted: elementwise functions around it"
            )
        return regions

    def check(self, lifter: Lifter, anchor: fx.Node, region: Region) -> None:
        """Sizes of features are compiled in where they are known."""
        refuse_empty(region.nodes)
        call = lookup(anchor)
        assert call is not None
        rows = _Rows.of(anchor)
        if prod(literal(rows.shape[dim]) or 2 for dim in rows.dims) == 1:
            raise ExpectedError(f"`{anchor.name}` normalizes single elements; accepted: several")
        rank = len(rows.shape)
        if call.op == "group_norm":
            _refuse_images(anchor, tensor(call.get("input")))
        lifter.fix(lifter.operand(anchor, call.get("input")), (dim - rank for dim in rows.dims))


class _Rows:
    """The shape of what is normalized, and the dims that a row has."""

    def __init__(self, shape: Sequence[Size], dims: Sequence[int]) -> None:
        self.shape, self.dims = shape, dims

    @staticmethod
    def of(anchor: fx.Node) -> _Rows:
        """Those of an anchor. RefusedError where no literal dims are."""
        call = lookup(anchor)
        assert call is not None
        shape = tensor(call.get("input")).shape
        return _Rows(shape, _dims(anchor, call, len(shape)))

    def has(self, node: fx.Node) -> bool:
        """Whether a tensor has an element for each of a row, or for each row."""
        shape = tensor(node).shape
        kept = [size for dim, size in enumerate(self.shape) if dim not in self.dims]
        if len(shape) == len(kept) and len(kept) < len(self.shape):
            return all(map(same, shape, kept))
        if len(shape) != len(self.shape):
            return False
        return all(
            same(own, size) or (dim in self.dims and is_one(own))
            for dim, (own, size) in enumerate(zip(shape, self.shape, strict=True))
        )

    def is_whole(self, node: fx.Node) -> bool:
        """Whether a tensor has an element for each of every row."""
        shape = tensor(node).shape
        return len(shape) == len(self.shape) and all(map(same, shape, self.shape))

    def broadcasts(self, node: fx.Node) -> bool:
        """Whether a tensor has one element for several of a row, or for several rows."""
        shape = tensor(node).shape
        pairs = zip(reversed(shape), reversed(self.shape), strict=False)
        return len(shape) <= len(self.shape) and all(is_one(a) or same(a, b) for a, b in pairs)


def _dims(node: fx.Node, call: Call, rank: int) -> tuple[int, ...]:
    """The dims that a normalization or a statistic goes over, counted from the first."""
    if call.op == "group_norm":
        return tuple(range(1, rank))
    if call.op in ("layer_norm", "rms_norm"):
        return tuple(range(rank - len(call.get("normalized_shape")), rank))
    if call.op == "normalize":
        return (normal_dim(literal(call.get("dim", 1)) or 0, rank),)
    return tuple(dim + rank for dim in dims_of(node, call))


def _refuse_images(anchor: fx.Node, image: torch.Tensor) -> None:
    """ExpectedError for images whose pixels are no single loop, or not the innermost one."""
    unknown = [dim for dim, size in enumerate(image.shape) if dim > 1 and literal(size) is None]
    if unknown and unknown[-1] - unknown[0] >= len(unknown):
        raise ExpectedError(
            f"`{anchor.name}` (group_norm) goes over several dims of sizes that are not known, "
            "which kernels do not take as one; accepted: neighbours, or numbers"
        )
    if image.dim() > 3 and literal(image.stride(1)) == 1:
        raise ExpectedError(
            f"`{anchor.name}` (group_norm) is of an image that lies with its channels innermost, "
            "which PyTorch does faster; accepted: pixels innermost"
        )


def _pays(anchor: fx.Node) -> bool:
    """Whether a kernel of a node alone is faster than PyTorch's."""
    call = lookup(anchor)
    if call is not None and call.op == "group_norm":
        return tensor(anchor).dim() <= 3  # of images PyTorch's is as fast or faster
    return call is not None and call.op in (*NORMALIZATIONS, "log_softmax")


def _comes_back(flow: ValueFlow, node: fx.Node, call: Call) -> bool:
    """Whether functions of a statistic meet whole rows again."""
    try:
        rows = _Rows.of(node)
    except RefusedError:
        return False
    pending, seen = [node], {node}
    while pending:
        for reader in flow.consumers(pending.pop()):
            if reader in seen or not is_pointwise(reader) or not rows.has(reader):
                continue
            if rows.is_whole(reader):
                return True
            seen.add(reader)
            pending.append(reader)
    return False


def _pools(node: fx.Node, call: Call) -> bool:
    """Whether a sum or mean goes over rows, the features of which stay, and is of products."""
    source = call.get("input")
    if call.op not in ("sum", "mean") or not isinstance(source, fx.Node):
        return False
    made = lookup(source)
    if made is None or made.op != "mul" or not is_pointwise(source):
        return False
    return -1 not in dims_of(node, call)


class _Growth:
    """Grows a region around an anchor, up and down, as far as all of it can run at once.

    Above it only what is cheap; ``late``: also what reads values that are made after the anchor.
    """

    def __init__(
        self, flow: ValueFlow, rows: _Rows, taken: Collection[fx.Node], up: bool, late: bool
    ) -> None:
        self.flow, self.rows, self.taken = flow, rows, taken
        self.up, self.late = up, late

    def region(self, anchor: fx.Node) -> Region:
        """All that belongs to an anchor."""
        nodes, pending = {anchor}, [anchor]
        last = self.flow.index[anchor]
        while pending:
            node = pending.pop(0)
            new = [reader for reader in self.flow.consumers(node) if self._is_below(reader, last)]
            if self.up and not is_gather(self.flow, node):
                new += [of for of in self.flow.operands(node) if self._is_above(of, node)]
            for one in new:
                if one not in nodes and joins(self.flow, one, nodes):
                    nodes.add(one)
                    pending.append(one)
        return Region.of(self.flow, nodes)

    def _is_below(self, node: fx.Node, last: int) -> bool:
        if node in self.taken or not (self._is_part(node) or self._is_first(node)):
            return False
        operands = self.flow.operands(node)
        return self.late or all(
            self.flow.index[of] <= last or of.op == "placeholder" or self._is_part(of)
            for of in operands
        )

    def _is_above(self, node: fx.Node, reader: fx.Node) -> bool:
        call = lookup(node)
        if call is None or node in self.taken:
            return False
        if is_gather(self.flow, node):
            alone = self.flow.consumers(node) == [reader]
            return self.rows.is_whole(node) or (alone and self.rows.broadcasts(node))
        if not self._is_part(node):
            return False
        square = call.op == "pow" and call.get("exponent") == 2
        cheap = square or kind_of(call.op) in CHEAP or call.op in _CHEAP_NAMES
        return cheap or not self.rows.is_whole(node)

    def _is_part(self, node: fx.Node) -> bool:
        """Whether a node computes elements of rows, or a statistic of rows."""
        call = lookup(node)
        if call is None or not is_tensor(node):
            return False
        if call.op in OVER_A_DIM:
            of = call.get("input")
            return is_tensor(of) and self.rows.is_whole(of) and self._goes_over_rows(node, call)
        return is_pointwise(node) and self.rows.has(node)

    def _goes_over_rows(self, node: fx.Node, call: Call) -> bool:
        try:
            return _dims(node, call, len(self.rows.shape)) == tuple(self.rows.dims)
        except RefusedError:
            return False

    def _is_first(self, node: fx.Node) -> bool:
        """Whether a node takes the result of a normalization that has several."""
        call = lookup(node)
        of = call.get("input") if call is not None and call.op == "getitem" else None
        several = isinstance(of, fx.Node) and not is_tensor(of)
        return several and call is not None and call.get("index") == 0


_CHEAP_NAMES = ("cast", "dropout", "add", "sub", "mul", "masked_fill", "where", "square")
