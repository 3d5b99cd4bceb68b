"""Draws a program of rows: embeddings, normalizations, chains, and linear layers between them."""

from __future__ import annotations

from dataclasses import dataclass

from tests.fuzz.draw_layers import UNARY, Layers
from tests.fuzz.drawing import NUMBERS
from tests.fuzz.programs import Program, Ref

TABLES = (1, 2, 3, 7, 17, 50)
NORMS = ("layer", "layer plain", "rms", "layer written", "rms written", "softmax", "log", "unit")
EPS = 1e-5
ALL = ("attention", "linear", "normalization", "elementwise")


@dataclass
class Rows(Layers):
    """Values are [*lead, width], as those of ``Layers``; all indices are below ``limit``."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.limit = int(self.pick(*TABLES))

    def program(self) -> Program:
        """All of it."""
        width = self.features()
        x = self.embedded(width) if self.chance(0.6) else self.source(width)
        for _ in range(self.pick(1, 2, 2, 3)):
            self.made.append((x, width))
            x, width = self.step(x, width)
        self.results.insert(0, self.end(x, width).name)
        self.widths.update(size for given in self.inputs for size in given.shape[:-1])
        self.widths -= {self.length}
        return self.finished(fuse=ALL)

    def others(self) -> set[int]:
        """The sizes that do not change."""
        return {*super().others(), *TABLES}

    def embedded(self, width: int) -> Ref:
        """Rows of one table or several, added."""
        ids = self.ids(self.lead)
        x = self.found(ids, width)
        for _ in range(self.pick(0, 1, 1, 2)):
            x = self.call(self.pick("add", "operator.add"), x, self.found(self.more(ids), width))
        return self.call("mul", x, self.pick(*NUMBERS)) if self.chance(0.2) else x

    def more(self, ids: Ref) -> Ref:
        """Indices beside the first ones: the same, or of fewer dims, or repeated for a batch."""
        way = self.pick("same", "own", "places", "repeated")
        if way == "same":
            return ids
        if way == "own":
            return self.ids(self.lead)
        places = self.ids((1, self.length) if len(self.lead) > 1 else (self.length,))
        return self.call("expand", places, *self.lead) if way == "repeated" else places

    def ids(self, shape: tuple[int, ...]) -> Ref:
        """Indices that any table has."""
        dtype = self.pick("int64", "int64", "int32")
        return self.input("ids", shape, f"below {self.limit}", dtype, static=())

    def found(self, ids: Ref, width: int) -> Ref:
        """The rows of a table."""
        size = max(self.pick(*TABLES), self.limit)
        return self.call("F.embedding", ids, self.weight(size, width))

    def step(self, x: Ref, width: int) -> tuple[Ref, int]:
        """One more operation or several."""
        kind = self.pick("norm", "norm", "norm", "chain", "residual", "gate", "layer")
        if kind == "norm":
            return self.norm(x, width), width
        if kind == "residual":
            other = self.chain(self.side(width), width)
            return self.norm(self.call("operator.add", x, other), width), width
        if kind == "gate":
            return self.call("mul", self.call(self.pick(*UNARY), x), self.side(width)), width
        if kind == "layer":
            new = self.features()
            return self.chain(self.layer(x, width, new), new), new
        return self.changed(self.changed(self.chain(x, width), width), width), width

    def norm(self, x: Ref, width: int) -> Ref:
        """A normalization of rows, by name or written out."""
        way, weight = self.pick(*NORMS), self.bias(width)
        if way == "layer":
            return self.call("F.layer_norm", x, (width,), weight, self.bias(width), EPS)
        if way == "layer plain":
            return self.call("F.layer_norm", x, (width,))
        if way == "rms":
            return self.call("F.rms_norm", x, (width,), weight, EPS)
        if way == "softmax":
            return self.call("F.softmax", x, -1)
        if way == "log":
            return self.call("F.log_softmax", x, -1)
        if way == "unit":
            return self.call("F.normalize", x, 2.0, -1)
        if way == "layer written":
            x = self.call("sub", x, self.call("mean", x, -1, True))
        square = self.call("pow", x, 2) if self.chance(0.5) else self.call("mul", x, x)
        mean = self.call("mean", square, -1, True)
        scaled = self.call("mul", x, self.call("rsqrt", self.call("add", mean, EPS)))
        return self.call("mul", weight, scaled) if self.chance(0.5) else scaled
