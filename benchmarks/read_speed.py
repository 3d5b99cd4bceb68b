"""``read``: how fast all threads read keys and values and do nothing else, a bound for decoding.

A loop compiled as our kernels are, on the same pool of threads: workers take chunks of consecutive
memory from a common counter and add them up in vector registers, as integers whatever their type.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
import torch
from torch import Tensor

from snipjit.runtime import engine, threads
from snipjit.target.target_machine import select

SUMS = 8
"""Vectors that are summed into, so that no load waits for an addition."""

CHUNK_BYTES = 2**18
"""The most that a worker takes at once."""

COUNTER, CHUNKS, BYTES, FIRST, SECOND, RESULTS = 0, 1, 2, 3, 4, 7
"""The slots besides those of ``threads``: the next chunk, how many a tensor has, the bytes of one,
the two tensors, and where the sum of each chunk goes."""

_TEXT = """
declare i32 @llvm.vector.reduce.add({vector})

define void @read(ptr %slots) {{
entry:
{loads}
  %all_chunks = shl i64 %chunks, 1
  br label %take
take:
  %number = atomicrmw add ptr %slots, i64 1 monotonic
  %some_left = icmp ult i64 %number, %all_chunks
  br i1 %some_left, label %chunk, label %done
chunk:
  %is_second = icmp uge i64 %number, %chunks
  %tensor = select i1 %is_second, ptr %second, ptr %first
  %before = select i1 %is_second, i64 %chunks, i64 0
  %in_tensor = sub i64 %number, %before
  %offset = mul i64 %in_tensor, %bytes
  %start = getelementptr i8, ptr %tensor, i64 %offset
  br label %loop
loop:
  %position = phi i64 [ 0, %chunk ], [ %next, %loop ]
{sums}
  %here = getelementptr i8, ptr %start, i64 %position
{additions}
  %next = add i64 %position, {step}
  %again = icmp ult i64 %next, %bytes
  br i1 %again, label %loop, label %store
store:
{folds}
  %sum = call i32 @llvm.vector.reduce.add({vector} %fold{last})
  %result = getelementptr i32, ptr %results, i64 %number
  store i32 %sum, ptr %result
  br label %take
done:
  ret void
}}
"""


def reader(k: Tensor, v: Tensor) -> Callable[[], Tensor]:
    """A call that reads both tensors once and gives the sums of their chunks.

    They are contiguous and of equal size: a multiple of what one turn of the loop reads.
    """
    step = SUMS * _lanes() * 4
    size = k.nbytes
    assert k.is_contiguous()
    assert v.is_contiguous()
    assert size == v.nbytes
    assert size % step == 0
    chunk = max(c for c in range(step, min(size, CHUNK_BYTES) + 1, step) if size % c == 0)
    results = torch.zeros(2 * size // chunk, dtype=torch.int32)
    slots = np.zeros(8, dtype=np.int64)
    slots[[CHUNKS, BYTES]] = size // chunk, chunk
    slots[[FIRST, SECOND, RESULTS]] = k.data_ptr(), v.data_ptr(), results.data_ptr()
    slots[threads.ENTRY_SLOT] = _loaded().address
    run, address, values = threads.run_many() or threads.run_one(), slots.ctypes.data, slots.data

    def call(kept: tuple[Tensor, ...] = (k, v)) -> Tensor:
        values[COUNTER], values[threads.THREADS_SLOT] = 0, threads.thread_count()
        run(address)
        return results

    return call


def misread(sums: Tensor, k: Tensor, v: Tensor) -> bool:
    """Whether the sums are not those of the tensors' memory."""
    total = sum(int(tensor.view(torch.int32).sum()) for tensor in (k, v))
    return (int(sums.sum()) - total) % 2**32 != 0


def _lanes() -> int:
    """Of 32 bits."""
    return select(engine.host_features()).lanes


@cache
def _loaded() -> engine.Loaded:
    """The machine code of the loop, kept for the life of the process."""
    return engine.load(engine.compile_object(_text(), select(engine.host_features())), "read")


def _text() -> str:
    """The loop as LLVM IR."""
    vector, sums = f"<{_lanes()} x i32>", range(SUMS)
    return _TEXT.format(
        vector=vector,
        step=SUMS * _lanes() * 4,
        last=SUMS - 1,
        loads="\n".join(
            f"  %{name}_slot = getelementptr i64, ptr %slots, i64 {slot}\n"
            f"  %{name} = load {kind}, ptr %{name}_slot"
            for name, kind, slot in (
                ("chunks", "i64", CHUNKS),
                ("bytes", "i64", BYTES),
                ("first", "ptr", FIRST),
                ("second", "ptr", SECOND),
                ("results", "ptr", RESULTS),
            )
        ),
        sums="\n".join(
            f"  %old{n} = phi {vector} [ zeroinitializer, %chunk ], [ %new{n}, %loop ]"
            for n in sums
        ),
        additions="\n".join(
            f"  %at{n} = getelementptr {vector}, ptr %here, i64 {n}\n"
            f"  %value{n} = load {vector}, ptr %at{n}, align 4\n"
            f"  %new{n} = add {vector} %old{n}, %value{n}"
            for n in sums
        ),
        folds="\n".join(
            f"  %fold{n} = add {vector} %new{n}, " + (f"%fold{n - 1}" if n else "zeroinitializer")
            for n in sums
        ),
    )
