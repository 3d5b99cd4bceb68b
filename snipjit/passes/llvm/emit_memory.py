"""Load, Store and Prefetch: tiles of a tensor at its current position."""

from __future__ import annotations

from snipjit.ir.expression import Expression
from snipjit.ir.tensors import Buffer
from snipjit.passes.llvm.emission import Emission
from snipjit.passes.llvm.emit_convert import splat_first
from snipjit.passes.llvm.emit_shared_prefetch import emit_shared_prefetch
from snipjit.passes.llvm.gathered_access import GatheredAccess
from snipjit.passes.llvm.indexed_access import IndexedAccess
from snipjit.passes.llvm.pair_access import PairAccess
from snipjit.passes.llvm.strided_access import StridedAccess
from snipjit.passes.llvm.tile import Tile, indices
from snipjit.passes.llvm.vector_ir import CACHE_LINE


def emit_load(emission: Emission, e: Expression) -> Tile:
    """The tile of a tensor at its current position."""
    access = _gathered(emission, e) if e.operands else _access(emission, e)
    if is_uniform(emission, access):
        return emission.tile(e.type, access.load_splat, (), access.load_element)
    if access.lanes is None:
        tile = emission.tile(e.type, access.load_element)
        tile.make_splat = access.load_splat if splat_first(access.tensor.dtype) else None
        return tile
    load = access.load_vectors if access.contiguous else access.load_block
    tile = emission.tile(e.type, lambda i: load(tile, i), (), access.load_element)
    return tile


def emit_store(emission: Emission, e: Expression, tile: Tile) -> None:
    """Write a tile to a tensor at its current position."""
    access = _access(emission, e)
    if access.lanes is not None and not access.contiguous:
        access.store_blocks(tile)
        return
    store = access.store_element if access.lanes is None else access.store_vector
    for index in emission.indices(access.axes, e.type.pairs):
        store(index, emission.operand(tile, index, access.axes))


def emit_prefetch(emission: Emission, e: Expression) -> None:
    """Ask for every cache line of the tile of a tensor at its current position, or the next one."""
    access = StridedAccess(emission, e.inputs[0])
    if "along" in e.attrs:
        emit_shared_prefetch(emission, access, e)
        return
    line = max(CACHE_LINE // access.bytes, 1)
    steps = (
        {access.lanes: max(emission.width, line if access.contiguous else 0)}
        if access.lanes
        else {}
    )
    if access.unit is not None:
        steps.setdefault(access.unit, line)
    for index in indices(access.axes, emission.scope.counts, steps):
        if "ahead" in e.attrs:
            axis = e.attrs["ahead"]
            further = emission.scope.counts[axis] * e.attrs.get("by", 1)
            index = {**index, axis: index.get(axis, 0) + further}
        access.prefetch(index)


def is_uniform(emission: Emission, access: StridedAccess) -> bool:
    """Whether all lanes of a vector read one element, by index along groups of whole vectors."""
    tensor, lanes = access.tensor, access.lanes
    if isinstance(tensor, Buffer) or lanes is None or not tensor.is_index(lanes):
        return False
    assert tensor.parts is not None
    size = tensor.parts.size(tensor.parts.inner(lanes))
    return size is not None and size % emission.width == 0 and tensor.parts.is_outer(lanes)


def _gathered(emission: Emission, e: Expression) -> GatheredAccess:
    return GatheredAccess(emission, e, emission.scope.registers[e.operands[0]])


def _access(emission: Emission, e: Expression) -> StridedAccess:
    name, pairs = e.inputs[0], e.type.pairs
    if pairs is None:
        indexed = IndexedAccess.of(emission, name) if e.op == "load" else None
        return indexed or StridedAccess(emission, name)
    return PairAccess(emission, name, pairs, loads=e.op == "load")
