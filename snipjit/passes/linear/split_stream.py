"""SplitStream: several tasks share one run over a streamed axis; the last of them merges."""

from __future__ import annotations

from dataclasses import dataclass

from snipjit.ir.expression import Expression, ValueType
from snipjit.ir.linear_ir import LinearIR, Loop, Piece, Statement, is_kind
from snipjit.ir.loop_nest import parallel_loops, task_body
from snipjit.ir.tensors import Buffer
from snipjit.passes.linear.insert_buffers import extents
from snipjit.passes.linear.limit_loops import LimitLoops
from snipjit.passes.linear.linear_pass import LinearPass
from snipjit.passes.linear.merge_states import Merge
from snipjit.passes.linear.split_loops import SplitLoops

MOST_CHUNKS = 64
"""How many tasks may share a run at most, however long."""

STATE_LIMIT = 64 << 10
"""Elements that a chunk may leave; with more of them the merge would not be worth it."""


@dataclass(frozen=True)
class SplitStream(LinearPass):
    """Chunks of the streamed axis become tasks, where few tasks run over much.

    Each chunk runs the loop as it was, from its own beginning, and leaves the accumulators in
    buffers that all chunks share. The last one to be done merges them in the order of the chunks,
    with the updates of the loop itself (``merge_states.py``), and does what came after the loop.
    A single chunk merges nothing. One loop is split, whose accumulators are all its task needs of
    it: between two loops all chunks would have to wait for one another. Nor is a loop split whose
    limits are tried and tested (``limit_loops.py``): that takes the maximum of the whole task, and
    what limits cut off may be most of the run.

    Before:  parallel m step 8 {
               %l = fill {value=0.0}
               for n step 128 { … ; %l = add %l %l.part }
               store %y %l
             }
    After:   parallel m step 8 {
               buffer %l.chunks : f32[n.chunk:64][m:8]
               parallel n step 512 {
                 %l = fill {value=0.0}
                 for n step 128 { … ; %l = add %l %l.part }
                 join n.chunk {
                   store %l.chunks %l : f32[m n.chunk]
                 } last {
                   %l = fill {value=0.0}
                   for n.chunk step 1 {
                     %l.chunk = load %l.chunks : f32[m n.chunk]
                     %l.part.merged = horizon %l.chunk {monoid=sum, over=(n.chunk)}
                     %l = add %l %l.part.merged
                   }
                 }
                 store %y %l
               }
             }
    """

    def rewrite(self, lir: LinearIR) -> LinearIR:
        """Split the one streaming loop of the task, if it allows it."""
        body = task_body(lir)
        loops = [s for s in body if isinstance(s, Loop)]
        if len(loops) != 1:
            return lir
        stream = loops[0]
        size, chunk = lir.axes[stream.axis], f"{stream.axis}.chunk"
        least = lir.plans[stream.axis].chunk
        if not least or (size is not None and size < 2 * least):
            return lir
        merge = Merge.of(lir, body, stream, chunk)
        if merge is None or self._tries_limits(lir):
            return lir
        lir.axes[chunk] = MOST_CHUNKS
        shared = _shared_buffers(lir, merge.types, chunk)
        if sum(buffer.stride(chunk) for buffer in shared) > STATE_LIMIT:
            del lir.axes[chunk]
            return lir
        at = next(i for i, s in enumerate(body) if s is stream) + 1
        split = [*body[:at], _join(lir, merge, chunk), *body[at:]]
        body[:] = [*shared, Loop(stream.axis, [Piece(least, split)], kind="parallel")]
        return lir

    def _tries_limits(self, lir: LinearIR) -> bool:
        """Whether the kernel would have a retry if its loop stayed whole."""
        whole = LimitLoops().run(SplitLoops().run(lir))
        return any(is_kind(s, "retry") for s, _ in whole.walk())


def _shared_buffers(lir: LinearIR, types: dict[str, ValueType], chunk: str) -> list[Buffer]:
    """A buffer for each accumulator, with a place for each chunk."""
    home = tuple(parallel_loops(lir))
    return [
        Buffer(
            f"{name}.chunks",
            type.dtype,
            {chunk: MOST_CHUNKS, **extents(lir, name, type, home)},
        )
        for name, type in types.items()
    ]


def _join(lir: LinearIR, merge: Merge, chunk: str) -> Loop:
    each: list[Statement] = [
        Expression("store", None, (f"{name}.chunks", name), merge.with_chunk(type))
        for name, type in merge.types.items()
    ]
    last: list[Statement] = [*merge.fills, Loop(chunk, [Piece(1, [*merge.body])])]
    return Loop(chunk, [Piece(1, each), Piece(1, last)], "join")
