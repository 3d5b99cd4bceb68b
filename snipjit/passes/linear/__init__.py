"""CONTROL FLOW: the canonical Subgraph in, a LinearIR out that needs no further decision.

``pipeline`` lists the passes, ``serving`` the schedules of a structure. The other modules are no
passes: ``hidden_values``,
``index_conditions``, ``limit_guards`` and ``call_scalars`` are parts of LimitLoops,
``online_algebra`` and ``online_states`` of FuseOnline, ``merge_states`` of SplitStream.
"""

from __future__ import annotations

from snipjit.ir.schedule import Schedule
from snipjit.passes.base import Pass
from snipjit.passes.linear.allocate_buffers import AllocateBuffers
from snipjit.passes.linear.assign_tiles import AssignTiles
from snipjit.passes.linear.brgemm_blocking import BrgemmBlocking
from snipjit.passes.linear.choose_schedule import ChooseSchedule
from snipjit.passes.linear.convert_graph_to_linear import ConvertGraphToLinear
from snipjit.passes.linear.extract_loop_invariants import ExtractLoopInvariants
from snipjit.passes.linear.fuse_converts import FuseConverts
from snipjit.passes.linear.fuse_loops import FuseLoops
from snipjit.passes.linear.fuse_online import FuseOnline
from snipjit.passes.linear.init_loops import InitLoops
from snipjit.passes.linear.initialize_accumulators import InitializeAccumulators
from snipjit.passes.linear.insert_buffers import InsertBuffers
from snipjit.passes.linear.insert_dequantization import InsertDequantization
from snipjit.passes.linear.insert_load_store import InsertLoadStore
from snipjit.passes.linear.insert_specific_iterations import InsertSpecificIterations
from snipjit.passes.linear.keep_packed import KeepPacked
from snipjit.passes.linear.limit_loops import LimitLoops
from snipjit.passes.linear.mark_loops import MarkLoops
from snipjit.passes.linear.pack_operands import PackOperands
from snipjit.passes.linear.pad_buffers import PadBuffers
from snipjit.passes.linear.prefetch_next_tile import PrefetchNextTile
from snipjit.passes.linear.prefetch_strided import PrefetchStrided
from snipjit.passes.linear.reduce_decomposition import ReduceDecomposition
from snipjit.passes.linear.relax_exponentials import RelaxExponentials
from snipjit.passes.linear.round_factors import RoundFactors
from snipjit.passes.linear.row_units import RowUnits
from snipjit.passes.linear.serving import refuse_across, refuse_native, serving
from snipjit.passes.linear.split_loops import SplitLoops
from snipjit.passes.linear.split_stream import SplitStream
from snipjit.target.target_machine import TargetMachine


def pipeline(
    target: TargetMachine, schedule: Schedule = Schedule.ROWS, halvings: int = 0
) -> tuple[Pass, ...]:
    """The passes for one target row, in order, each with the reason for its place.

    ``halvings``: how often a candidate was tried whose buffers were too large.
    """
    return (
        ConvertGraphToLinear(target, schedule),  # the way in: a flat list, the lanes axes chosen
        FuseConverts(),  # first: what reads and writes memory is all that later passes see
        ChooseSchedule(
            target, schedule, halvings
        ),  # before the first loop; everything later obeys it
        MarkLoops(),  # everything later rewrites its loops
        InitializeAccumulators(),  # makes the state of the streaming loops explicit ...
        FuseOnline(),  # ... which is what this rule rewrites
        *_split(schedule),  # accumulators are final; before anything lowers their loop
        RoundFactors(target),  # when all that accumulates is known; loops are still flat
        RelaxExponentials(target),  # of what has just been rounded; sums are still whole
        PackOperands(),  # before panels, so that packing happens once a task
        SplitLoops(),  # before tiles: a panel holds whole tile loops
        LimitLoops(),  # while a panel is a flat list, whose products and reductions are whole
        RowUnits(),  # after all that knows maxima by their differences; panels are still flat
        FuseLoops(),  # the tile loops, shared where dependencies allow
        ReduceDecomposition(),  # needs the tile loops
        BrgemmBlocking(),  # needs the tile loops
        InsertBuffers(),  # now it is known what crosses loops
        PadBuffers(),  # behind the stores of what products in tiles read
        InsertLoadStore(),  # the remaining memory operands
        InsertDequantization(),  # of all loads; before invariants, which zeros of channels are
        ExtractLoopInvariants(),  # after loads: they are what is mostly invariant
        PrefetchNextTile(),  # likewise, and before tails
        PrefetchStrided(),  # before tails, which want it too
        KeepPacked(),  # all that fills buffers is there; before their memory is shared
        AllocateBuffers(),  # lives are final; before tails, which share their offsets
        InsertSpecificIterations(),  # copies bodies, so everything above works on one
        AssignTiles(target),  # of each piece: only some fill tile registers
        InitLoops(),  # last: ports of every piece, tails included
    )


def _split(schedule: Schedule) -> tuple[Pass, ...]:
    """Few rows make few tasks, each of which reads much."""
    return (SplitStream(),) if schedule is Schedule.COLUMNS else ()


__all__ = ["pipeline", "refuse_across", "refuse_native", "serving"]
