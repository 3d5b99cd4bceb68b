"""Canonical Subgraphs of masked softmax in the forms models write it, and inputs that try them."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from snipjit.ir.element_types import Array
from snipjit.ir.linear_ir import LinearIR
from snipjit.ir.schedule import Schedule
from snipjit.ir.subgraph import Subgraph
from snipjit.ir.text.subgraph import parse_subgraph
from snipjit.passes.base import run_pipeline
from snipjit.passes.linear import pipeline
from snipjit.target.target_machine import TargetMachine

LOWEST = -3.4028234663852886e38

CONDITIONS = {
    "causal": "%c = le %y %x",
    "window": "%w = sub %x %wide : f32[m] %a = gt %y %w : i1[m][n] %b = le %y %x : i1[m][n] "
    "%c = and %a %b",
    "behind": "%z = add %x %past : f32[m] %c = le %y %z",
    "one row": "%c = le %y %past",
    "padded": "%a = le %y %x : i1[m][n] %c = and %a %keep",
    "padded window": "%w = sub %x %wide : f32[m] %a = gt %y %w : i1[m][n] "
    "%b = le %y %x : i1[m][n] %d = and %a %b : i1[m][n] %c = and %d %keep",
}
"""Conditions, the type of the last value left out."""
FORMS = {
    "where": "%masked = where %c %s %fill : f32[h][m][n]",
    "masked fill": "%not = not %c : TYPE %masked = where %not %fill %s : f32[h][m][n]",
    "add": "%low = where %c %zero %fill : FLOAT %masked = add %s %low : f32[h][m][n]",
    "add two": "%low = where %c %zero %fill : FLOAT %t = add %s %low : f32[h][m][n] "
    "%masked = add %t %bias : f32[h][m][n]",
    "mul": "%f = to_f32 %c : FLOAT %g = sub %one %f : FLOAT %low = mul %g %fill : FLOAT "
    "%masked = add %s %low : f32[h][m][n]",
}
_EXP = "%x1 = reduce %masked {monoid=larger, over=(n)} : f32[h][m] SAFE"
_SUM = """
    %e = sub %masked MAX : f32[h][m][n]
    %p = exp %e : f32[h][m][n]
    %l = reduce %p {monoid=sum, over=(n)} : f32[h][m]
"""
_OUT = """
    %o = brgemm %p %v {over=(n)} : f32[h][m][e]
    %r = div %o %l : f32[h][m][e]
    %r0 = result %r {order=(0, 1, 2)} : f32[h][m][e]
"""
ENDS = {
    "softmax": _SUM.replace("MAX", "%x1") + _OUT,
    "safe softmax": """
    %x2 = safe %x1 : f32[h][m]
    """
    + _SUM.replace("MAX", "%x2")
    + """
    %o = brgemm %p %v {over=(n)} : f32[h][m][e]
    %r0 = result %o {order=(0, 1, 2)} : f32[h][m][e]
    """,
    "two loops": _SUM.replace("MAX", "%x1")
    + """
    %q1 = div %p %l : f32[h][m][n]
    %q2 = mul %q1 %q1 : f32[h][m][n]
    %o = brgemm %q2 %v {over=(n)} : f32[h][m][e]
    %r0 = result %o {order=(0, 1, 2)} : f32[h][m][e]
    """,
    "statistics": _SUM.replace("MAX", "%x1")
    + _OUT
    + """
    %lg = log %l : f32[h][m]
    %lse = add %lg %x1 : f32[h][m]
    %r1 = result %lse {order=(0, 1)} : f32[h][m]
    """,
}
_HEAD = """
    subgraph @masked
    axis h
    axis m
    axis d = 8
    axis n
    axis e = 8
    %q = parameter : f32[h][m][d]
    %k = parameter : f32[h][n][d]
    %v = parameter : f32[h][n][e]
    %keep = parameter : i1[h][m][n]
    %bias = parameter : f32[h][m][n]
    %past = scalar : f32
    %wide = scalar : f32
    FILL
    %i = iota {axis=m} : i32[m]
    %j = iota {axis=n} : i32[n]
    %x = to_f32 %i : f32[m]
    %y = to_f32 %j : f32[n]
    %zero = constant {value=0.0} : f32
    %one = constant {value=1.0} : f32
    %inf = constant {value=-inf} : f32
    %s = brgemm %q %k {over=(d)} : f32[h][m][n]
    %x1 = reduce %masked {monoid=larger, over=(n)} : f32[h][m]
"""


@dataclass(frozen=True)
class Masked:
    """A condition, how it masks, what follows, and a fill that is compiled in (or is a scalar)."""

    condition: str
    form: str
    end: str
    fill: float | None = None

    def subgraph(self) -> Subgraph:
        """The canonical Subgraph."""
        axes = "[m][n]" if "padded" not in self.condition else "[h][m][n]"
        axes = "[n]" if self.condition == "one row" else axes
        fill = "scalar" if self.fill is None else f"constant {{value={self.fill!r}}}"
        head, first = _HEAD.replace("FILL", f"%fill = {fill} : f32").rsplit("\n", 2)[:2]
        mask = f"{CONDITIONS[self.condition]} : i1{axes} {FORMS[self.form]}"
        mask = mask.replace("TYPE", f"i1{axes}").replace("FLOAT", f"f32{axes}")
        return parse_subgraph("\n".join((head, mask, first, ENDS[self.end])))

    def scalars(self, past: float, wide: float, fill: float) -> list[float]:
        """The scalars of a call."""
        return [past, wide, *([fill] if self.fill is None else [])]


def arrays(rows: int, columns: int, hidden: str, scale: float = 1.0, seed: int = 0) -> list[Array]:
    """Inputs; ``hidden`` says what the tensor mask hides: of keys, of rows, of all."""
    random = np.random.default_rng(seed)
    shapes = ((2, rows, 8), (2, columns, 8), (2, columns, 8), (2, rows, columns))
    q, k, v, bias = (random.standard_normal(shape) for shape in shapes)
    keep = np.ones((2, rows, columns), bool)
    places: dict[str, Any] = {
        "left": np.s_[0, :, : columns // 3 + 1],
        "right": np.s_[1, :, columns - columns // 3 :],
        "a row": np.s_[0, rows // 2 : rows // 2 + 1],
        "all": np.s_[:],
        "nothing": np.s_[:0],
    }
    keep[places[hidden]] = False
    return [q * scale, k, v, keep, bias]


HIDDEN = ("nothing", "left", "right", "a row", "all")
FILLS = (LOWEST, -1e9, -1e4, -math.inf, -5.0, 0.0, math.nan, -1e30, 1e9)
CASES = [
    Masked(*parts)
    for parts in itertools.product(CONDITIONS, FORMS, ENDS, (None, LOWEST, -1e9, -math.inf))
]


def unlimited(
    subgraph: Subgraph, target: TargetMachine, schedule: Schedule = Schedule.ROWS
) -> LinearIR:
    """The final LinearIR of a canonical Subgraph without limits."""
    passes = [step for step in pipeline(target, schedule) if step.name != "LimitLoops"]
    lir: LinearIR = run_pipeline(passes, subgraph)
    return lir
