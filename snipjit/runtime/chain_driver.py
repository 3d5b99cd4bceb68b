"""The native half of a chain: fills the CallArgs of all kernels and runs one after the other.

It reads one structure of 64-bit slots, the *program* (``FIELDS``). Before the first kernel the
calling thread fills in what only the call knows ::

    coloured[c] = arena + starts[c]                          for each colour of the arena
    copy told[m] bytes from values[m] to kernels[m]          for each member
    *patches[p].slot = roots[patches[p].root] + offsets[p]   addresses of tensors
    *scalars[s].slot = numbers[scalars[s].number]            floats
    kernels[m].scratch = scratch + beside[m] * room

Then each thread goes through the members; where one begins a phase (``beside[m] = 0``) all wait for
all. That is a barrier of libgomp's, of half the price of ending a parallel region and beginning
another. Members of one phase have scratchpads of their own: some threads are still in the first of
them when others are in the last.
"""

from __future__ import annotations

from functools import cache

from snipjit.ir.call_args import FIXED
from snipjit.runtime.engine import Loaded, compile_object, load
from snipjit.runtime.threads import Call, gomp_functions, native
from snipjit.target.target_machine import PORTABLE

FIELDS = (
    *("members", "kernels", "told", "values", "beside"),
    *("patches", "patch", "offsets", "roots"),
    *("scalars", "scalar", "numbers"),
    *("colours", "coloured", "starts", "arena", "scratch", "room", "threads"),
)
"""``members``, ``patches``, ``scalars`` and ``colours`` are counts, ``room`` the bytes of the
scratchpad of a member; ``patch`` and ``scalar`` are arrays of pairs (address of a slot, index). All
others but ``arena``, ``scratch`` and ``threads`` are addresses of arrays."""

SLOT = {field: number for number, field in enumerate(FIELDS)}


def _load(field: str, type: str = "i64") -> str:
    """Lines that load a field of ``%program`` as ``%field``."""
    return (
        f"  %{field}.at = getelementptr i64, ptr %program, i64 {SLOT[field]}\n"
        f"  %{field} = load {type}, ptr %{field}.at\n"
    )


def _loop(name: str, count: str, body: str) -> str:
    """A loop of ``%name.i`` below ``%count``, whose body ends in no branch; then ``name.end``."""
    return f"""  br label %{name}.head
{name}.head:
  %{name}.i = phi i64 [ 0, %{{before}} ], [ %{name}.next, %{name}.body.end ]
  %{name}.more = icmp slt i64 %{name}.i, %{count}
  br i1 %{name}.more, label %{name}.body, label %{name}.end
{name}.body:
{body}  br label %{name}.body.end
{name}.body.end:
  %{name}.next = add i64 %{name}.i, 1
  br label %{name}.head
{name}.end:
"""


def _pair(name: str, array: str) -> str:
    """Lines that load both words of a pair: an address and an index."""
    return f"""  %{name}.twice = shl i64 %{name}.i, 1
  %{name}.pair = getelementptr i64, ptr %{array}, i64 %{name}.twice
  %{name}.slot = load ptr, ptr %{name}.pair
  %{name}.second = getelementptr i64, ptr %{name}.pair, i64 1
  %{name}.index = load i64, ptr %{name}.second
"""


_COLOURS = """  %c.start.at = getelementptr i64, ptr %starts, i64 %c.i
  %c.start = load i64, ptr %c.start.at
  %c.address = add i64 %arena, %c.start
  %c.root = getelementptr i64, ptr %coloured, i64 %c.i
  store i64 %c.address, ptr %c.root
"""

_MEMBERS = f"""  %m.kernel.at = getelementptr ptr, ptr %kernels, i64 %m.i
  %m.kernel = load ptr, ptr %m.kernel.at
  %m.values.at = getelementptr ptr, ptr %values, i64 %m.i
  %m.values = load ptr, ptr %m.values.at
  %m.told.at = getelementptr i64, ptr %told, i64 %m.i
  %m.told = load i64, ptr %m.told.at
  call void @llvm.memcpy.p0.p0.i64(ptr %m.kernel, ptr %m.values, i64 %m.told, i1 false)
  %m.beside.at = getelementptr i64, ptr %beside, i64 %m.i
  %m.beside = load i64, ptr %m.beside.at
  %m.before = mul i64 %m.beside, %room
  %m.own = add i64 %scratch, %m.before
  %m.scratch = getelementptr i64, ptr %m.kernel, i64 {FIXED.index("scratch")}
  store i64 %m.own, ptr %m.scratch
"""

_PATCHES = (
    _pair("p", "patch")
    + """  %p.root.at = getelementptr i64, ptr %roots, i64 %p.index
  %p.root = load i64, ptr %p.root.at
  %p.offset.at = getelementptr i64, ptr %offsets, i64 %p.i
  %p.offset = load i64, ptr %p.offset.at
  %p.address = add i64 %p.root, %p.offset
  store i64 %p.address, ptr %p.slot
"""
)

_SCALARS = (
    _pair("s", "scalar")
    + """  %s.number.at = getelementptr float, ptr %numbers, i64 %s.index
  %s.number = load float, ptr %s.number.at
  store float %s.number, ptr %s.slot
"""
)


def _fill() -> str:
    """``fill``: what the calling thread does before the kernels."""
    counts = ("members", "patches", "scalars", "colours", "arena", "scratch", "room")
    loads = "".join(_load(field, "i64" if field in counts else "ptr") for field in FIELDS[:-1])
    loops, before = "", "entry"
    for name, count, body in (
        ("c", "colours", _COLOURS),
        ("m", "members", _MEMBERS),
        ("p", "patches", _PATCHES),
        ("s", "scalars", _SCALARS),
    ):
        loops += _loop(name, count, body).replace("{before}", before)
        before = f"{name}.end"
    return (
        "declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)\n"
        f"define internal void @fill(ptr %program) {{\nentry:\n{loads}{loops}  ret void\n}}\n"
    )


def _work(wait: str) -> str:
    """``work``: runs the members in turn, and ``wait`` before each phase but the first."""
    body = f"""  %m.beside.at = getelementptr i64, ptr %beside, i64 %m.i
  %m.beside = load i64, ptr %m.beside.at
  %m.opens = icmp eq i64 %m.beside, 0
  %m.later = icmp ne i64 %m.i, 0
  %m.waits = and i1 %m.opens, %m.later
  br i1 %m.waits, label %m.wait, label %m.enter
m.wait:
{wait}  br label %m.enter
m.enter:
  %m.kernel.at = getelementptr ptr, ptr %kernels, i64 %m.i
  %m.kernel = load ptr, ptr %m.kernel.at
  %m.tasks.at = getelementptr i64, ptr %m.kernel, i64 {FIXED.index("tasks")}
  %m.tasks = load i64, ptr %m.tasks.at
  %m.any = icmp ne i64 %m.tasks, 0
  br i1 %m.any, label %m.run, label %m.body.end
m.run:
  %m.entry.at = getelementptr i64, ptr %m.kernel, i64 {FIXED.index("entry")}
  %m.entry = load ptr, ptr %m.entry.at
  call void %m.entry(ptr %m.kernel)
"""
    return (
        "define void @work(ptr %program) {\nentry:\n"
        + _load("members")
        + _load("kernels", "ptr")
        + _load("beside", "ptr")
        + _loop("m", "members", body).replace("{before}", "entry")
        + "  ret void\n}\n"
    )


_ONE = (
    _fill()
    + _work("")
    + """
define void @chain_one(ptr %program) {
  call void @fill(ptr %program)
  call void @work(ptr %program)
  ret void
}
"""
)

_MANY = (
    "declare void @GOMP_parallel(ptr, ptr, i32, i32)\ndeclare void @GOMP_barrier()\n"
    + _fill()
    + _work("  call void @GOMP_barrier()\n")
    + "define void @chain_many(ptr %program) {\n  call void @fill(ptr %program)\n"
    + _load("threads")
    + """  %team = trunc i64 %threads to i32
  call void @GOMP_parallel(ptr @work, ptr %program, i32 %team, i32 0)
  ret void
}
"""
)


@cache
def chain_one() -> Call:
    """Runs the program of a chain on the calling thread."""
    return native(_load_one().address)


@cache
def chain_many() -> Call | None:
    """Runs the program of a chain on torch's pool; None if torch does not use libgomp."""
    loaded = _load_many()
    return native(loaded.address) if loaded else None


@cache
def _load_one() -> Loaded:
    """The machine code of ``chain_one``, kept for the life of the process."""
    return load(compile_object(_ONE, PORTABLE), "chain_one")


@cache
def _load_many() -> Loaded | None:
    """The machine code of ``chain_many``, likewise kept."""
    functions = gomp_functions("GOMP_parallel", "GOMP_barrier")
    return load(compile_object(_MANY, PORTABLE), "chain_many", functions) if functions else None
