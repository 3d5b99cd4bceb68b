"""ConvertLinearToLLVM: one LLVM function from the final LinearIR, and from nothing else."""

from __future__ import annotations

from dataclasses import dataclass

from llvmlite import ir

from snipjit.ir.call_args import CallArgs
from snipjit.ir.expression import Expression
from snipjit.ir.linear_ir import LinearIR, Loop, Statement, expressions, is_kind
from snipjit.ir.loop_nest import parallel_loops
from snipjit.ir.tensors import Buffer
from snipjit.passes.base import Pass
from snipjit.passes.llvm.emission import POINTER, Emission
from snipjit.passes.llvm.emit_bounds import emit_bounds
from snipjit.passes.llvm.emit_join import emit_join
from snipjit.passes.llvm.emit_loop import emit_loop
from snipjit.passes.llvm.emit_memory import emit_load, emit_prefetch, emit_store
from snipjit.passes.llvm.emit_once import emit_once
from snipjit.passes.llvm.emit_operations import emit_operation
from snipjit.passes.llvm.emit_pad import emit_pad
from snipjit.passes.llvm.emit_retry import emit_retry
from snipjit.passes.llvm.emit_tiles import (
    configure,
    emit_in_tiles,
    emit_tile_store,
    release,
    uses_tiles,
)
from snipjit.passes.llvm.tasks import emit_claim, enter_task, take_task, worker_scratchpad
from snipjit.passes.llvm.tile import Tile
from snipjit.passes.llvm.vector_ir import I8, I64
from snipjit.target.target_machine import TargetMachine

SYMBOL = "snipjit_kernel"


@dataclass(frozen=True)
class ConvertLinearToLLVM(Pass):
    """A worker function that takes tasks from the call's counter until none is left.

    Before:  parallel b step 1 { parallel m step 192 { … } }
    After:   define void @snipjit_kernel(ptr %args) { … atomicrmw add … }
    """

    target: TargetMachine

    def run(self, lir: LinearIR) -> ir.Module:
        """The module with the kernel."""
        module = ir.Module(name=lir.name)
        function = ir.Function(module, ir.FunctionType(ir.VoidType(), [POINTER]), SYMBOL)
        entry = function.append_basic_block("entry")
        next_task = function.append_basic_block("next_task")
        task = function.append_basic_block("task")
        leave = function.append_basic_block("leave")
        head = ir.IRBuilder(entry)
        branch = head.branch(next_task)
        head.position_before(branch)
        emission = Emission(
            lir, self.target, ir.IRBuilder(next_task), function.args[0], head, CallArgs.of(lir)
        )
        emission.next_task = next_task
        emission.tensors = {**lir.tensors, **lir.buffers()}
        if uses_tiles(lir):
            configure(head)
            release(ir.IRBuilder(leave))
        branch.replace_usage(next_task, emit_bounds(emission, next_task, leave))
        scratch = worker_scratchpad(emission)
        number = take_task(emission, task, leave)
        emission.builder.position_at_end(task)
        enter_task(emission, number, scratch)
        loops = parallel_loops(lir)
        _emit_body(emission, loops[-1].body if loops else lir.body)
        emission.builder.branch(next_task)
        end = ir.IRBuilder(leave)
        end.position_at_end(leave)
        end.ret_void()
        return module


def _emit_body(emission: Emission, body: list[Statement]) -> None:
    for statement in body:
        if isinstance(statement, Loop):
            _force_pending_loads(emission, statement)
            _emit_loop(emission, statement)
        elif isinstance(statement, Buffer):
            _declare(emission, statement)
        else:
            _emit_expression(emission, statement)


def _emit_loop(emission: Emission, loop: Loop) -> None:
    def emit_body(inner: list[Statement]) -> None:
        _emit_body(emission, inner)

    if is_kind(loop, "retry"):
        emit_retry(emission, loop, emit_body)
    elif is_kind(loop, "once"):
        emit_once(emission, loop, emit_body)
    elif is_kind(loop, "join"):
        emit_join(emission, loop, emit_body)
    else:
        emit_loop(emission, loop, emit_body)


def _declare(emission: Emission, buffer: Buffer) -> None:
    offset = ir.Constant(I64, buffer.offset or 0)
    base = emission.scope.pointers["scratchpad"]
    pointer = emission.builder.gep(base, [offset], source_etype=I8)
    emission.scope.pointers[buffer.name] = pointer


def _emit_expression(emission: Emission, e: Expression) -> None:
    registers = emission.scope.registers
    if e.op == "store":
        _force_loads_of(emission, {e.inputs[0]}, registers[e.inputs[1]])
        if "registers" in e.attrs:
            emit_tile_store(emission, e)
        else:
            emit_store(emission, e, registers[e.inputs[1]])
        return
    if e.op == "pad":
        _force_loads_of(emission, {e.inputs[0]})
        emit_pad(emission, e)
        return
    if e.op == "prefetch":
        emit_prefetch(emission, e)
        return
    if e.op == "claim":
        emit_claim(emission, e)
        return
    assert e.output is not None
    if "registers" in e.attrs:
        tile = emit_in_tiles(emission, e, [registers[name] for name in e.inputs if e.op == "fma"])
    elif e.op == "load":
        tile = emit_load(emission, e)
        emission.scope.pending.append((e.inputs[0], tile))
    else:
        tile = emit_operation(emission, e, [registers[name] for name in e.inputs])
        if e.output in e.inputs:
            tile.force(emission.scope.counts)
    registers[e.output] = tile


def _force_loads_of(emission: Emission, written: set[str], stored: Tile | None = None) -> None:
    """Loads not emitted yet must see memory as it was before a store.

    A load that the ``stored`` tile is made from, element by element, comes before it anyway.
    """
    sources = _sources(stored) if stored is not None else set()
    for name, tile in emission.scope.pending:
        places = [_place(emission, name), *(_place(emission, target) for target in written)]
        shared = [p for p in places[1:] if _overlap(places[0], p)]
        in_turn = id(tile.made) in sources and all(p == places[0] for p in shared)
        if shared and not in_turn:
            tile.force(emission.scope.counts)


def _sources(tile: Tile) -> set[int]:
    """The tile and all that its elements are made from (copies of a tile share what is made)."""
    return {id(tile.made)}.union(*(_sources(operand) for operand in tile.operands))


Place = tuple[str, int, int, tuple[tuple[str, int], ...]]


def _place(emission: Emission, name: str) -> Place:
    """Where a tensor lies: what memory, its first and last byte, the layout."""
    tensor = emission.tensors[name]
    if not isinstance(tensor, Buffer) or name in emission.shared:
        return name, 0, 1, ()
    start = tensor.offset or 0
    end = start + tensor.elements * tensor.element.bytes
    return "scratchpad", start, end, tuple(tensor.extents.items())


def _overlap(one: Place, two: Place) -> bool:
    return one[0] == two[0] and one[1] < two[2] and two[1] < one[2]


def _force_pending_loads(emission: Emission, loop: Loop) -> None:
    stores = [e for e in expressions([loop]) if e.op == "store"]
    _force_loads_of(emission, {s.inputs[0] for s in stores})
