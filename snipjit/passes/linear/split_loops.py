"""SplitLoops: the block of rows a task works on is split into panels of register tiles."""

from __future__ import annotations

from dataclasses import dataclass, replace

from snipjit.ir.expression import Expression
from snipjit.ir.linear_ir import LinearIR, Loop, Piece, Statement
from snipjit.ir.loop_nest import is_part_of_vector, panel_axes, task_body
from snipjit.passes.linear.linear_pass import LinearPass
from snipjit.passes.linear.tile_products import products_in_tiles


@dataclass(frozen=True)
class SplitLoops(LinearPass):
    """Wrap neighbouring Expressions that carry a row axis in a loop over panels.

    The parallel loop over rows (step 192) is the outer half, this loop (step 48, three vectors)
    the inner one, whose work amount is the outer increment or its tail. Expressions without rows
    depend on no row, so they stand before the panels and run once a block. Rows that are not in
    lanes make panels of a few; of several row axes the outermost does. Panels of less than a vector
    of an axis in lanes have the products alone: what follows has whole vectors of it.

    Before:  parallel m step 192 {
               %c = not %keep : i1[n] ; %x = fill : f32[m]
               for n step 128 { … }
             }
    After:   parallel m step 192 {
               %c = not %keep : i1[n]
               for m step 48 { %x = fill : f32[m] }
               for n step 128 { for m step 48 { … } }
             }
    Before:  parallel n step 64 { %s = brgemm %x %w {over=(d)} : f32[n] ; %t = exp %s : f32[n] }
    After:   parallel n step 64 {                                                 lanes n d x 16
               for n step 3 { %s = brgemm %x %w {over=(d)} : f32[n] }
               %t = exp %s : f32[n]
             }
    """

    def rewrite(self, lir: LinearIR) -> LinearIR:
        """Split in every block of the task."""
        held = bool(products_in_tiles(lir))
        plans = {axis: lir.plans[axis] for axis in panel_axes(lir)}
        panels = {axis: plan.held if held else plan.panel for axis, plan in plans.items()}
        body = task_body(lir)
        if any(is_part_of_vector(lir, axis) for axis in panels):
            body[:] = _of_products(body, panels)
        else:
            body[:] = _panels(body, panels) if panels else body
        return lir


def _of_products(body: list[Statement], steps: dict[str, int]) -> list[Statement]:
    """Panels of all products, whose factors are tensors of the call, in front of the rest."""
    flat = [s for s in body if isinstance(s, Expression)]
    products = [e for e in flat if e.op == "brgemm"]
    first = [e for e in flat if steps.keys().isdisjoint(e.type.axes)]
    rest = [e for e in flat if e not in products and e not in first]
    return [*first, *_close(list[Statement](products), steps), *rest]


def _panels(body: list[Statement], steps: dict[str, int]) -> list[Statement]:
    result: list[Statement] = []
    panel: list[Statement] = []
    for statement in body:
        if isinstance(statement, Loop):
            result += _close(panel, steps)
            panel = []
            pieces = [replace(p, body=_panels(p.body, steps)) for p in statement.pieces]
            result.append(replace(statement, pieces=pieces))
        elif isinstance(statement, Expression) and not steps.keys().isdisjoint(statement.type.axes):
            panel.append(statement)
        else:
            result.append(statement)
    return result + _close(panel, steps)


def _close(panel: list[Statement], steps: dict[str, int]) -> list[Statement]:
    body = panel
    for axis, step in reversed(steps.items()) if panel else ():
        body = [Loop(axis, [Piece(step, body)])]
    return body
