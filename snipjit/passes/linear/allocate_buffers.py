"""AllocateBuffers: one scratchpad offset for each buffer, by graph colouring."""

from __future__ import annotations

from dataclasses import dataclass

import networkx as nx

from snipjit.errors import ScratchpadError
from snipjit.ir.call_args import CACHE_LINE
from snipjit.ir.expression import Expression
from snipjit.ir.linear_ir import LinearIR, Loop, Statement, bodies, walk
from snipjit.ir.loop_nest import kept_buffers, shared_buffers, task_body
from snipjit.ir.tensors import Buffer
from snipjit.passes.linear.linear_pass import LinearPass

SCRATCHPAD_LIMIT = 2 << 20
"""Bytes of scratchpad a thread may use, whatever the lengths."""


@dataclass(frozen=True)
class AllocateBuffers(LinearPass):
    """Buffers whose lives overlap get different colours; a colour is a range of the scratchpad.

    A buffer lives from its declaration to the last use in the declaring body, one that is filled
    ``once`` for ever. One that is last
    read in the very loop body that first writes another of equal shape can share its memory: the
    element is read before it is overwritten (a *cluster*). The pass may run again after an edit.

    Before:  buffer %s.buffer : f32[n:128][m:48] ; buffer %x.buffer : f32[m:192]
    After:   buffer %s.buffer : f32[n:128][m:48] at 0 ; buffer %x.buffer : f32[m:192] at 24576
    """

    def rewrite(self, lir: LinearIR) -> LinearIR:
        """Assign offsets; ScratchpadError when the scratchpad would exceed its limit."""
        shared = shared_buffers(lir)
        _place(shared)
        buffers = [buffer for name, buffer in lir.buffers().items() if name not in shared]
        clusters = _clusters(lir, buffers)
        body = task_body(lir)
        colours = nx.greedy_color(_interference(body, clusters), strategy="largest_first")
        sizes: dict[int, int] = {}
        for buffer in buffers:
            colour = colours[clusters[buffer.name]]
            sizes[colour] = max(sizes.get(colour, 0), _bytes(buffer))
        starts = {c: sum(sizes[other] for other in sizes if other < c) for c in sizes}
        for statement, _ in walk(body):  # tails repeat declarations
            if isinstance(statement, Buffer):
                statement.offset = starts[colours[clusters[statement.name]]]
        if (total := scratch_bytes(lir)) > SCRATCHPAD_LIMIT:
            raise ScratchpadError(
                f"the kernel would need {total} bytes of scratchpad a thread; at most "
                f"{SCRATCHPAD_LIMIT} are accepted (static axes are too large)"
            )
        return lir


def scratch_bytes(lir: LinearIR) -> int:
    """Bytes of scratchpad that one worker needs."""
    local = lir.buffers().keys() - shared_buffers(lir).keys()
    buffers = (buffer for name, buffer in lir.buffers().items() if name in local)
    return max(((b.offset or 0) + _bytes(b) for b in buffers), default=0)


def _place(shared: dict[str, Buffer]) -> None:
    """Shared buffers are all alive at once; their offsets are within one chunk."""
    offset = 0
    for buffer in shared.values():
        buffer.offset = offset
        offset += _aligned(buffer.stride(buffer.axes[0]) * buffer.element.bytes)


def _bytes(buffer: Buffer) -> int:
    return _aligned(buffer.elements * buffer.element.bytes)


def _aligned(size: int) -> int:
    return -(-size // CACHE_LINE) * CACHE_LINE


def _accesses(body: list[Statement], name: str) -> list[int]:
    """Positions of a body's statements that read or write a tensor."""
    return [
        i
        for i, statement in enumerate(body)
        if any(_is_move(s, name) for s, _ in walk([statement]))
    ]


def _lives(body: list[Statement]) -> dict[str, tuple[int, int]]:
    """First and last position of each buffer declared in a body."""
    lives = {}
    for buffer in (s for s in body if isinstance(s, Buffer)):
        used = _accesses(body, buffer.name)
        lives[buffer.name] = (used[0], used[-1]) if used else (0, 0)
    return lives


def _clusters(lir: LinearIR, buffers: list[Buffer]) -> dict[str, str]:
    """The representative of each buffer's cluster."""
    cluster = {buffer.name: buffer.name for buffer in buffers}
    kept = kept_buffers(lir.body)
    shapes = {buffer.name: (buffer.dtype, tuple(buffer.extents.items())) for buffer in buffers}
    for inner in bodies(task_body(lir)):
        lives = _lives(inner)
        for one, (_, end) in lives.items():
            for two, (start, stop) in lives.items():
                joined = cluster[two] == two and list(cluster.values()).count(two) == 1
                if {one, two} & kept:
                    continue
                if one != two and shapes[one] == shapes[two] and end == start and joined:
                    others = [lives[o] for o in lives if o != one and cluster[o] == cluster[one]]
                    apart = all(last < start or stop < first for first, last in others)
                    if apart and _in_place(lir, inner[end], one, two):
                        cluster[two] = cluster[one]
    return cluster


def _in_place(lir: LinearIR, statement: Statement, read: str, written: str) -> bool:
    """Whether one body below loads each tile of ``read`` once and then stores ``written``."""
    moves = [(s, loops) for s, loops in walk([statement]) if _is_move(s, read, written)]
    stores = [isinstance(s, Expression) and s.op == "store" for s, _ in moves]
    bodies = {tuple(map(id, loops)) for _, loops in moves}
    axes = lir.buffers()[read].axes
    around = {loop.axis for _, loops in moves for loop in loops}
    once = all(axis in axes or lir.axes.get(axis) == 1 for axis in around)
    return once and len(bodies) == 1 and stores == sorted(stores) and stores[0] != stores[-1]


def _is_move(s: Statement, *tensors: str) -> bool:
    return isinstance(s, Expression) and s.op in ("load", "store") and s.inputs[0] in tensors


def _interference(body: list[Statement], clusters: dict[str, str]) -> nx.Graph[str]:
    """An edge between clusters that hold values at the same time."""
    graph: nx.Graph[str] = nx.Graph()
    graph.add_nodes_from(clusters.values())
    for kept in kept_buffers(body):
        graph.add_edges_from((clusters[kept], o) for o in clusters.values() if o != clusters[kept])
    for inner in bodies(body):
        lives = _lives(inner)
        for name, (start, end) in lives.items():
            others = [o for o, (s, e) in lives.items() if o != name and s <= end and start <= e]
            for statement in inner:
                if isinstance(statement, Loop):
                    others += [s.name for s, _ in walk([statement]) if isinstance(s, Buffer)]
            graph.add_edges_from(
                (clusters[name], clusters[o]) for o in others if clusters[o] != clusters[name]
            )
    return graph
