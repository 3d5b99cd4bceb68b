"""Draws a program of linear layers: chains, several of one input, weights laid out in any way."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tests.fuzz.drawing import FLOATS, NUMBERS, Drawing
from tests.fuzz.programs import Kind, Program, Ref

FEATURES = (1, 1, 2, 3, 5, 8, 8, 16, 17, 24, 31, 40)
UNARY = ("F.relu", "F.gelu", "F.silu", "abs", "neg", "sigmoid", "tanh", "F.elu", "F.hardtanh")
BLOCKS = ("layer", "layer", "gate", "several", "residual", "low rank", "experts", "points", "mean")


@dataclass
class Layers(Drawing):
    """Values are [*lead, width]; ``lead`` ends in the length, which changes from call to call."""

    made: list[tuple[Ref, int]] = field(default_factory=list)
    weights: list[tuple[Ref, tuple[int, ...]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.dtype = self.pick("float32", "float32", "float32", *FLOATS)
        self.length = self.size() + self.longer
        self.batch = self.pick(*([()] * 2 if self.few else [(), (0,)]), (1,), (2,), (3,), (2, 3))
        self.lead = (*self.batch, self.length)
        self.widths = {0}

    def lengths(self) -> set[int]:
        """The sizes that change."""
        return {self.length}

    def others(self) -> set[int]:
        """The sizes that do not."""
        return {*self.batch, *self.widths, *FEATURES}

    def features(self) -> int:
        few = () if self.few else (0,)
        return int(self.pick(*FEATURES, *FEATURES, *few))

    def program(self) -> Program:
        """All of it."""
        width = self.features()
        x = self.source(width)
        for _ in range(self.pick(1, 1, 2, 3)):
            self.made.append((x, width))
            x, width = self.block(x, width)
        self.results.insert(0, self.end(x, width).name)
        self.widths.update(size for given in self.inputs for size in given.shape[:-1])
        self.widths -= {self.length}
        return self.finished(fuse=("attention", "linear"))

    def source(self, width: int) -> Ref:
        """The first input, as it comes."""
        way = self.pick("whole", "whole", "part", "rows", "steps", "moved", "repeated")
        lead, last = self.lead, len(self.lead)
        if way == "part":
            whole = self.input("x", (*lead, width + 3))
            return self.call("narrow", whole, -1, self.pick(0, 1, 3), width)
        if way == "rows":
            whole = self.input("x", (*lead[:-1], lead[-1] + 2, width))
            return self.call("operator.getitem", whole, (..., slice(1, -1), slice(None)))
        if way == "steps":
            whole = self.input("x", (*lead, width * 2))
            return self.call("operator.getitem", whole, (..., slice(None, None, 2)))
        if way == "moved":
            whole = self.input("x", (*lead[:-1], width, lead[-1]), static=(last - 1,))
            return self.call("transpose", whole, -1, -2)
        if way == "repeated" and len(lead) > 1:
            whole = self.input("x", (*(1 for _ in lead[:-1]), lead[-1], width))
            return self.call("expand", whole, *lead[:-1], -1, -1)
        return self.input("x", (*lead, width))

    # What is made of values.

    def block(self, x: Ref, width: int) -> tuple[Ref, int]:
        """One more layer or several, and what stands around them."""
        kind, new = self.pick(*BLOCKS), self.features()
        if kind == "gate":
            gate = self.call(self.pick(*UNARY), self.layer(x, width, new))
            return self.call("mul", gate, self.layer(x, width, new)), new
        if kind == "several":
            for _ in range(self.pick(1, 2)):
                other = self.pick(new, new, self.features())
                self.results.append(self.chain(self.layer(x, width, other), other).name)
        if kind == "residual":
            return self.call("operator.add", x, self.layer(x, width, width)), width
        if kind == "low rank":
            low = self.layer(self.layer(x, width, 2), 2, new)
            return self.call("add", self.layer(x, width, new), self.call("mul", low, 0.5)), new
        if kind == "experts" and len(self.batch) == 1 and self.batch[0]:
            return self.chain(self.experts(x, width, new), new), new
        if kind == "points" and len(self.lead) > 1 and width * new * self.batch[0] * self.length:
            return self.chain(self.points(x, width, new), new), new
        if kind == "mean" and width:
            x = self.call("sub", x, self.call("mean", x, -1, True))
        return self.chain(self.layer(x, width, new), new), new

    def layer(self, x: Ref, width: int, new: int) -> Ref:
        """A product with a weight, in one of its spellings."""
        way = self.pick(
            "linear", "linear", "plain", "matmul", "turned", "einsum", "flat", "left", "addmm"
        )
        if way == "linear":
            return self.call("F.linear", x, self.weight(new, width), self.bias(new))
        if way == "plain":
            return self.call("F.linear", x, self.weight(new, width))
        if way == "turned":
            turned = self.call("t", self.weight(new, width))
            return self.call("operator.matmul", x, turned)
        if way == "einsum":
            return self.call("torch.einsum", "...k,nk->...n", x, self.weight(new, width))
        if way == "flat" and len(self.lead) == 2:
            flat = self.call("F.linear", self.call("flatten", x, 0, 1), self.weight(new, width))
            return self.call("unflatten", flat, 0, (self.lead[0], -1)) if self.lead[0] else flat
        if way == "left":
            found = self.call(
                "torch.matmul", self.weight(new, width), self.call("transpose", x, -1, -2)
            )
            return self.call("transpose", found, -1, -2)
        if way == "addmm" and len(self.lead) == 1:
            return self.call("torch.addmm", self.bias(new), x, self.weight(width, new))
        return self.call("torch.matmul", x, self.weight(width, new))

    def experts(self, x: Ref, width: int, new: int) -> Ref:
        """Each of a batch with a weight of its own."""
        count = self.batch[0]
        way = self.pick("bmm", "operator", "einsum", "baddbmm")
        if way == "einsum":
            return self.call("torch.einsum", "ebk,enk->ebn", x, self.weight(count, new, width))
        if way == "baddbmm":
            bias = self.input("bias", (count, 1, new), "weight")
            return self.call("torch.baddbmm", bias, x, self.weight(count, width, new))
        target = "torch.bmm" if way == "bmm" else "operator.matmul"
        return self.call(target, x, self.weight(count, width, new))

    def points(self, x: Ref, width: int, new: int) -> Ref:
        """A convolution of one tap over all dims but the first."""
        more = len(self.lead) - 1
        taps = (1,) * more
        moved = self.call("movedim", x, -1, 1)
        if self.chance(0.3):
            moved = self.call("contiguous", moved)
        weight, bias = self.weight(new, width, *taps), self.pick(None, self.bias(new))
        return self.call("movedim", self.call(f"F.conv{more}d", moved, weight, bias), 1, -1)

    def weight(self, *shape: int) -> Ref:
        """A weight of the model, or a part of one."""
        known = [ref for ref, of in self.weights if of == shape]
        if known and self.chance(0.3):
            return Ref(self.pick(*known).name)
        found = self.part(shape)
        self.weights.append((found, shape))
        return found

    def part(self, shape: tuple[int, ...]) -> Ref:
        way = self.pick("whole", "whole", "whole", "rows", "columns", "steps", "chunk")
        first, *others = shape
        if way == "rows":
            whole = self.input("w", (first + 3, *others), "weight")
            return self.call("operator.getitem", whole, slice(2, 2 + first))
        if way == "columns" and len(shape) == 2:
            whole = self.input("w", (first, others[0] + 1), "weight")
            return self.call("operator.getitem", whole, (slice(None), slice(1, None)))
        if way == "steps":
            whole = self.input("w", (first * 2, *others), "weight")
            return self.call("operator.getitem", whole, slice(None, None, 2))
        if way == "chunk" and first:
            parts = self.call("chunk", self.input("w", (first * 2, *others), "weight"), 2)
            return self.call("operator.getitem", parts, 1)
        return self.input("w", shape, "weight")

    def bias(self, width: int) -> Ref:
        return self.input("b", (width,), "weight")

    def chain(self, y: Ref, width: int) -> Ref:
        """What follows a layer, an element at a time."""
        for _ in range(self.pick(0, 1, 1, 2, 3)):
            y = self.changed(y, width)
        if self.chance(0.1):
            self.results.append(y.name)
        return y

    def changed(self, y: Ref, width: int) -> Ref:
        kind = self.pick("unary", "mul", "side", "residual", "in place", "where", "off", "cast")
        number = self.pick(*NUMBERS)
        if kind == "mul":
            return self.call(self.pick("mul", "div", "add"), y, number)
        if kind == "side":
            return self.call(self.pick("add", "mul", "sub"), y, self.side(width))
        if kind == "residual":
            alike = [ref for ref, of in self.made if of == width]
            return self.call("operator.add", y, self.pick(*alike)) if alike else y
        if kind == "in place":
            if self.chance(0.5):
                return self.call("relu_", y)
            return self.call(self.pick("mul_", "add_"), y, number)
        if kind == "where":
            return self.call("masked_fill", y, self.side(width, "bool"), number)
        if kind == "off":
            return self.call("F.dropout", y, 0.1, False)
        if kind == "cast":
            return self.call("to", self.call("to", y, Kind("float32")), Kind(self.dtype))
        return self.call(self.pick(*UNARY), y)

    def side(self, width: int, dtype: str = "") -> Ref:
        """A tensor that broadcasts to a value: some dims of size 1, some left out."""
        kept = [size if self.chance(0.6) else 1 for size in (*self.lead, width)]
        shape = tuple(kept[self.pick(0, 0, 1) :])
        return self.input("side", shape, "bool" if dtype else "normal", dtype)

    def end(self, x: Ref, width: int) -> Ref:
        """What the result is."""
        kind: Any = self.pick("as it is", "as it is", "heads", "moved", "contiguous", "half", "sum")
        if kind == "heads" and width and width % 2 == 0:
            return self.call("transpose", self.call("unflatten", x, -1, (2, width // 2)), -2, -3)
        if kind == "moved":
            return self.call("transpose", x, -1, -2)
        if kind == "contiguous":
            return self.call("contiguous", self.call("transpose", x, -1, -2))
        if kind == "half" and width > 1:
            parts = self.call("chunk", x, 2, -1)
            first, second = (self.call("operator.getitem", parts, at) for at in (0, -1))
            return first if width % 2 else self.call("mul", first, second)
        return self.call("sum", x, -1) if kind == "sum" else x
