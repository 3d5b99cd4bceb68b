"""Draws a program: attention in one of the ways in which models write it, layers, or rows."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from typing import Any

import torch

from tests.fuzz.draw_layers import Layers
from tests.fuzz.draw_rows import Rows
from tests.fuzz.drawing import FLOATS, NUMBERS, Drawing, longer_by
from tests.fuzz.programs import Kind, Program, Ref

HEAD_SIZES = (1, 2, 4, 5, 7, 8, 8, 16, 16, 17, 24)
UNARY = ("F.relu", "F.gelu", "F.silu", "F.elu", "F.softplus", "abs", "neg", "sigmoid", "tanh")
LOWEST = {name: torch.finfo(getattr(torch, name)).min for name in set(FLOATS)}


def draw(seed: int, few: bool = False, longer: int = 0) -> Program:
    """The program of a seed; ``few`` leaves out sizes of 0, which some tracers do not take.

    ``longer`` is added to the numbers of rows and columns: what is drawn does not depend on them.
    """
    return _drawing(seed, few, longer).program()


def other_sizes(seed: int, few: bool = False) -> Program | None:
    """The program of a seed for other lengths, which a dynamic trace takes too; None if none do."""
    drawn = _drawing(seed, few)
    drawn.program()
    longer = longer_by(drawn.lengths(), drawn.others())
    return None if longer is None else draw(seed, few, longer)


def _drawing(seed: int, few: bool, longer: int = 0) -> _Draw | Layers:
    """Every fourth seed draws linear layers, every eighth rows, the others attention."""
    kind = Layers if seed % 4 == 3 else Rows if seed % 8 == 5 else _Draw
    return kind(random.Random(seed), few, longer)


@dataclass
class _Draw(Drawing):
    def __post_init__(self) -> None:
        size = self.size
        self.dtype = self.pick(*FLOATS)
        self.batch, self.heads = self.pick(1, 1, 2, 3), self.pick(1, 2, 3, 4)
        self.rows, self.columns = size(), size()
        if self.pick(True, False, False):
            self.columns = self.rows
        self.d, self.e = self.pick(*HEAD_SIZES), self.pick(*HEAD_SIZES)
        if self.pick(True, True, False):
            self.e = self.d
        grouped = self.pick(True, False, False) and self.heads % 2 == 0
        self.groups = 2 if grouped else 1
        self.rows, self.columns = self.rows + self.longer, self.columns + self.longer

    def lengths(self) -> set[int]:
        """The sizes that change."""
        return {self.rows, self.columns}

    def others(self) -> set[int]:
        """The sizes that do not."""
        return {self.batch, self.heads, self.heads // self.groups, self.d, self.e}

    # The parts of attention in turn.

    def program(self) -> Program:
        """All of it."""
        q = self.heads_of("q", self.rows, self.heads, self.d)
        k = self.heads_of("k", self.columns, self.heads // self.groups, self.d)
        v = self.heads_of("v", self.columns, self.heads // self.groups, self.e)
        self.m, self.n = self.call("size", q, 2), self.call("size", k, 2)
        out = self.whole(q, k, v) if self.chance(0.25) else self.written(q, k, v)
        self.results.insert(0, self.merged(out).name)
        return self.finished()

    def heads_of(self, name: str, length: int, heads: int, size: int) -> Ref:
        """[B, H, S, D], however it comes."""
        b = self.batch
        way = self.pick("heads first", "heads first", "transposed", "split", "permuted")
        if way == "heads first":
            return self.input(name, (b, heads, length, size))
        if way == "transposed":
            return self.call("transpose", self.input(name, (b, length, heads, size)), 1, 2)
        if way == "permuted":
            return self.call("permute", self.input(name, (length, b, heads, size)), 1, 2, 0, 3)
        whole = self.input(name, (b, length, heads * size))
        split = self.call("unflatten", whole, -1, (heads, size))
        return self.call("transpose", split, 1, 2)

    def repeated(self, x: Ref, length: int, size: int) -> Ref:
        """Heads of keys or values as many as those of queries."""
        if self.groups == 1:
            return x
        if self.chance(0.5):
            return self.call("repeat_interleave", x, self.groups, 1)
        heads = self.heads // self.groups
        wide = self.call("unsqueeze", x, 2)
        wide = self.call("expand", wide, self.batch, heads, self.groups, -1, size)
        return self.call("flatten", wide, 1, 2)

    def whole(self, q: Ref, k: Ref, v: Ref) -> Ref:
        """``F.scaled_dot_product_attention``."""
        options: dict[str, Any] = {}
        if self.groups > 1 and self.chance(0.5):
            options["enable_gqa"] = True
        else:
            k, v = self.repeated(k, self.columns, self.d), self.repeated(v, self.columns, self.e)
        kind = self.pick("none", "causal", "bool", "float", "index")
        if kind == "causal":
            options["is_causal"] = True
        elif kind == "bool":
            options["attn_mask"] = self.seen()
        elif kind == "float":
            options["attn_mask"] = self.bias()
        elif kind == "index":
            options["attn_mask"] = self.index_mask()
        if self.chance(0.3):
            # Below 0 PyTorch's own kernel scales its mask too.
            options["scale"] = abs(self.pick(*NUMBERS))
        return self.call("F.scaled_dot_product_attention", q, k, v, **options)

    def written(self, q: Ref, k: Ref, v: Ref) -> Ref:
        """Product, chain, softmax, chain, product."""
        k, v = self.repeated(k, self.columns, self.d), self.repeated(v, self.columns, self.e)
        if self.chance(0.2):
            q = self.call("mul", q, self.pick(*NUMBERS))
        s = self.scores(q, k)
        for _ in range(self.pick(0, 1, 1, 2, 3)):
            s = self.changed(s)
        s = self.masked(s)
        if self.chance(0.1):
            self.results.append(s.name)
        p = self.weights(s)
        if self.chance(0.3):
            p = self.after(p)
        if self.chance(0.1):
            self.results.append(p.name)
        return self.product(p, v)

    def scores(self, q: Ref, k: Ref) -> Ref:
        way = self.pick("matmul", "operator", "einsum", "transposed by number", "3 dims")
        if way == "einsum":
            return self.call("torch.einsum", "bhid,bhjd->bhij", q, k)
        if way == "3 dims":
            q3, k3 = (self.call("flatten", x, 0, 1) for x in (q, k))
            s = self.call("torch.bmm", q3, self.call("transpose", k3, 1, 2))
            return self.call("unflatten", s, 0, (self.batch, self.heads))
        kt = self.call("transpose", k, -1, -2) if way != "transposed by number" else None
        kt = kt or self.call("permute", k, 0, 1, 3, 2)
        return self.call("torch.matmul" if way == "matmul" else "operator.matmul", q, kt)

    def changed(self, s: Ref) -> Ref:
        """One more operation on scores."""
        kind = self.pick(
            "mul", "div", "sqrt", "tanh", "clamp", "bias", "unary", "in place", "cap", "cast"
        )
        number = self.pick(*NUMBERS)
        if kind == "mul":
            return self.call(self.pick("mul", "operator.mul"), s, number)
        if kind == "div":
            return self.call(self.pick("div", "operator.truediv"), s, number * 4)
        if kind == "sqrt":
            return self.call("operator.truediv", s, math.sqrt(self.d))
        if kind == "clamp":
            low, high = sorted(self.random.uniform(-3, 3) for _ in range(2))
            how = self.pick("clamp", "F.hardtanh")
            names = ("min", "max") if how == "clamp" else ("min_val", "max_val")
            return self.call(how, s, **dict(zip(names, (low, high), strict=True)))
        if kind == "bias":
            return self.call(self.pick("add", "operator.add", "sub"), s, self.bias("normal"))
        if kind == "in place":
            s = self.call("mul", s, 1.0)
            return self.call(self.pick("mul_", "add_", "div_"), s, number)
        if kind == "cap":
            capped = self.call("tanh", self.call("div", s, 5.0))
            return self.call("mul", capped, 5.0)
        if kind == "cast":
            return self.call("to", s, Kind("float32"))
        return self.call(
            self.pick("F.relu", "F.gelu", "F.silu", "abs", "neg", "sigmoid", "F.elu", "tanh"), s
        )

    def shape(self) -> tuple[int, ...]:
        """A shape that broadcasts to the scores: some dims of size 1, some left out."""
        whole = (self.batch, self.heads, self.rows, self.columns)
        kept = [size if self.chance(0.6) else 1 for size in whole]
        first = self.pick(0, 0, 1, 2)
        return tuple(kept[first:])

    def bias(self, *contents: str) -> Ref:
        """What is added to scores; what hides comes last, lest it be scaled to what does not."""
        dtype = self.pick(self.dtype, self.dtype, "float32")
        content = self.pick(*(contents or ("normal", "normal", "hidden")))
        return self.input("bias", self.shape(), content, dtype)

    def seen(self) -> Ref:
        return self.input("seen", self.shape(), "bool", "bool")

    def index_mask(self) -> Ref:
        """True where a row sees a column, made of ranges."""
        kind = self.pick("causal", "window", "tril", "later")
        if kind == "tril":
            ones = self.call("torch.ones", self.m, self.n, dtype=Kind("bool"))
            return self.call("tril", ones, self.pick(0, 0, 1, -1, 3))
        i = self.call("unsqueeze", self.call("torch.arange", self.m), -1)
        j = self.call("torch.arange", self.n)
        if kind == "later":
            i = self.call("operator.add", i, self.call("operator.sub", self.n, self.m))
        found = self.call(
            self.pick("operator.le", "operator.lt") if kind != "causal" else "operator.le", j, i
        )
        if kind == "window":
            near = self.call("operator.gt", j, self.call("operator.sub", i, self.pick(1, 3, 8)))
            found = self.call("operator.and_", found, near)
        return found

    def masked(self, s: Ref) -> Ref:
        kind = self.pick("none", "none", "add", "fill", "where", "index", "index add", "alibi")
        fill = self.pick(-math.inf, LOWEST[self.dtype], -1e4)
        if kind == "add":
            return self.call(self.pick("operator.add", "add"), s, self.bias())
        if kind == "fill":
            hidden = self.call("logical_not", self.seen())
            if self.chance(0.3):
                s = self.call("mul", s, 1.0)
                return self.call("masked_fill_", s, hidden, fill)
            return self.call("masked_fill", s, hidden, fill)
        if kind == "where":
            return self.call("torch.where", self.seen(), s, fill)
        if kind == "index":
            hidden = self.call("operator.invert", self.index_mask())
            return self.call("masked_fill", s, hidden, fill)
        if kind == "index add":
            zeros = self.call("torch.zeros", self.m, self.n, dtype=Kind(self.dtype))
            hidden = self.call("operator.invert", self.index_mask())
            return self.call("operator.add", s, self.call("masked_fill", zeros, hidden, fill))
        if kind == "alibi":
            slopes = self.input("slopes", (self.heads, 1, 1))
            i = self.call("unsqueeze", self.call("torch.arange", self.m), -1)
            distance = self.call("operator.sub", self.call("torch.arange", self.n), i)
            return self.call("operator.add", s, self.call("operator.mul", slopes, distance))
        return s

    def weights(self, s: Ref) -> Ref:
        way = self.pick("function", "method", "float32", "written", "log", "log sum", "torch")
        if way == "function":
            return self.call("F.softmax", s, dim=-1)
        if way == "torch":
            return self.call("torch.softmax", s, -1)
        if way == "method":
            return self.call("softmax", s, self.pick(-1, 3))
        if way == "float32":
            p = self.call("F.softmax", s, dim=-1, dtype=Kind("float32"))
            return self.call("to", p, Kind(self.dtype))
        if way == "log":
            return self.call("exp", self.call("F.log_softmax", s, dim=-1))
        if way == "log sum":
            return self.call("exp", self.call("sub", s, self.call("logsumexp", s, -1, True)))
        if self.columns:  # a maximum of nothing is an error
            s = self.call("sub", s, self.call("amax", s, -1, True))
        e = self.call("exp", s)
        return self.call("div", e, self.call("sum", e, -1, True))

    def after(self, p: Ref) -> Ref:
        kind = self.pick("dropout", "head mask", "again", "scale")
        if kind == "dropout":
            return self.call("F.dropout", p, self.pick(0.1, 0.5), False)
        if kind == "head mask":
            return self.call("operator.mul", p, self.input("head", (self.heads, 1, 1)))
        if kind == "again":
            return self.call("masked_fill", p, self.call("logical_not", self.seen()), 0.0)
        return self.call("mul", p, self.pick(*NUMBERS))

    def product(self, p: Ref, v: Ref) -> Ref:
        way = self.pick("matmul", "operator", "einsum")
        kind = Kind(self.dtype)
        p = self.call("to", p, kind)
        if way == "einsum":
            return self.call("torch.einsum", "bhij,bhjd->bhid", p, v)
        return self.call("torch.matmul" if way == "matmul" else "operator.matmul", p, v)

    def merged(self, out: Ref) -> Ref:
        """What follows the second product."""
        kind = self.pick("as it is", "as it is", "merged", "contiguous", "scaled", "moved")
        if kind == "as it is":
            return out
        if kind == "scaled":
            return self.call("mul", out, self.pick(*NUMBERS))
        if kind == "moved":
            return self.call("transpose_", out, 1, 2)
        out = self.call("transpose", out, 1, 2)
        if kind == "contiguous":
            return self.call("contiguous", out)
        return self.call("reshape", out, self.batch, self.m, self.heads * self.e)
