"""Hand-written kernels for the tests of the run time: they obey CallArgs as emitted ones do."""

from __future__ import annotations

from functools import cache

from snipjit.ir.axis_sizes import TensorSpec
from snipjit.runtime.engine import compile_object
from snipjit.runtime.interface import Interface
from snipjit.runtime.kernel import Kernel
from snipjit.runtime.runtime_configurator import ParallelLoop, Recipe
from snipjit.runtime.structure import Structure
from snipjit.target.target_machine import PORTABLE

SCALE_ADD = """
define void @kernel(ptr %args) {{
entry:
  {loads}
  br label %take
take:
  %task = atomicrmw add ptr %args, i64 1 monotonic
  %live = icmp slt i64 %task, %tasks
  br i1 %live, label %work, label %done
done:
  ret void
work:
  %b = sdiv i64 %task, %blocks_m
  %block = srem i64 %task, %blocks_m
  %begin = mul i64 %block, %step_m
  %last = add i64 %begin, %step_m
  %inside = icmp slt i64 %last, %size_m
  %end = select i1 %inside, i64 %last, i64 %size_m
  br label %rows
rows:
  %m = phi i64 [ %begin, %work ], [ %m1, %row_done ]
  %row_live = icmp slt i64 %m, %end
  br i1 %row_live, label %row, label %take
row:
  {rows}
  br label %elements
elements:
  %n = phi i64 [ 0, %row ], [ %n1, %element ]
  %element_live = icmp slt i64 %n, %size_n
  br i1 %element_live, label %element, label %row_done
element:
  %x.element = getelementptr float, ptr %x.row, i64 %n
  %y.element = getelementptr float, ptr %y.row, i64 %n
  %o.element = getelementptr float, ptr %o.row, i64 %n
  %xv = load float, ptr %x.element
  %yv = load float, ptr %y.element
  store volatile float %xv, ptr %mine
  %kept = load volatile float, ptr %mine
  %product = fmul float %kept, %s
  %sum = fadd float %product, %yv
  store float %sum, ptr %o.element
  %n1 = add i64 %n, 1
  br label %elements
row_done:
  %m1 = add i64 %m, 1
  br label %rows
}}
"""
"""``o[b m n] = x * s + y``: a task is (b, block of m); elements pass through the scratchpad."""


def spec(
    name: str,
    dims: str,
    dtype: str = "f32",
    order: tuple[int, ...] | None = None,
    strict: tuple[int, ...] = (),
) -> TensorSpec:
    """A TensorSpec from dims written as ``b|hk g|m|k``."""
    split = tuple(tuple(dim.split()) for dim in dims.split("|")) if dims else ()
    return TensorSpec(name, dtype, split, order or tuple(range(len(split))), strict)


def interface(
    axes: str,
    inputs: list[TensorSpec],
    outputs: list[TensorSpec],
    scalars: tuple[str, ...] = (),
) -> Interface:
    """An Interface from axes written as ``b m k=64``."""
    pairs = [axis.partition("=") for axis in axes.split()]
    named = tuple((name, int(size) if size else None) for name, _, size in pairs)
    return Interface(named, tuple(inputs), tuple(outputs), scalars)


def recipe(
    of: Interface, parallel: tuple[tuple[str, int, int], ...] = (), scratch_bytes: int = 0
) -> Recipe:
    """A Recipe with the fields that CallArgs gives it."""
    fields = list(of.fields)
    for axis, _, _ in parallel:
        fields += [f"blocks.{axis}", f"step.{axis}"]
    loops = tuple(ParallelLoop(*loop) for loop in parallel)
    return Recipe(loops, scratch_bytes, tuple(fields))


def scale_add_interface(order: tuple[int, ...] = (0, 1, 2)) -> Interface:
    """How ``SCALE_ADD`` is called; its output is laid out in ``order`` (n innermost)."""
    inputs = [spec("x", "b|m|n"), spec("y", "b|m|n")]
    return interface("b m n", inputs, [spec("o", "b|m|n", order=order)], ("s",))


def scale_add_recipe(order: tuple[int, ...] = (0, 1, 2)) -> Recipe:
    """The recipe of ``SCALE_ADD``."""
    return recipe(scale_add_interface(order), (("b", 1, 1), ("m", 8, 2)), 64)


def _slot(name: str, recipe: Recipe, field: str, type: str) -> str:
    at = f"%{name}.at = getelementptr i64, ptr %args, i64 {recipe.fields.index(field)}"
    return f"{at}\n  %{name} = load {type}, ptr %{name}.at"


def _row(name: str) -> str:
    return f"""%{name}.b = mul i64 %b, %{name}_b
  %{name}.m = mul i64 %m, %{name}_m
  %{name}.offset = add i64 %{name}.b, %{name}.m
  %{name}.row = getelementptr i8, ptr %{name}, i64 %{name}.offset"""


@cache
def scale_add(order: tuple[int, ...] = (0, 1, 2)) -> Kernel:
    """The compiled kernel ``o = x * s + y`` over ``[b m n]``."""
    what = scale_add_recipe(order)
    loads = [
        _slot("tasks", what, "tasks", "i64"),
        _slot("blocks_m", what, "blocks.m", "i64"),
        _slot("step_m", what, "step.m", "i64"),
        _slot("size_m", what, "size.m", "i64"),
        _slot("size_n", what, "size.n", "i64"),
        _slot("scratch", what, "scratch", "ptr"),
        _slot("pitch", what, "pitch", "i64"),
        _slot("s", what, "scalar.s", "float"),
    ]
    for name in "xyo":
        loads.append(_slot(name, what, f"data.{name}", "ptr"))
        loads += [_slot(f"{name}_{a}", what, f"stride.{name}.{a}", "i64") for a in "bm"]
    loads.append("""%worker.at = getelementptr i64, ptr %args, i64 1
  %worker = atomicrmw add ptr %worker.at, i64 1 monotonic
  %mine.offset = mul i64 %worker, %pitch
  %mine = getelementptr i8, ptr %scratch, i64 %mine.offset""")
    text = SCALE_ADD.format(loads="\n  ".join(loads), rows="\n  ".join(map(_row, "xyo")))
    return Kernel.from_object("scale_add", what, compile_object(text, PORTABLE), "kernel")


@cache
def scale_add_structure(order: tuple[int, ...] = (0, 1, 2)) -> Structure:
    """The same as what a launcher calls."""
    return Structure.single(scale_add_interface(order), scale_add(order))
