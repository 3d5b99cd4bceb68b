"""What is legal with pairs and with tile registers in LinearIR."""

from __future__ import annotations

from dataclasses import dataclass, field

from snipjit.ir.element_types import PAIRED, Typed
from snipjit.ir.expression import MOVES, Expression
from snipjit.ir.linear_ir import LinearIR
from snipjit.ir.operations import kind_of
from snipjit.ir.tensors import Buffer
from snipjit.ir.verify.linear_loops import fault

MAKE_PAIRS = ("load", "store", "pad")
"""What makes pairs besides casts to their element type."""
PRODUCTS = ("brgemm", "fma")
HELD = ("fill", "load", "store", "fma")
"""What tile registers take part in."""


def check_pairs(lir: LinearIR) -> None:
    """Raise VerificationError where pairs are read as anything else, or anything else as pairs."""
    held = {buffer.name: buffer.pairs for buffer in lir.buffers().values()}
    registers = _Registers(lir)
    for statement, _ in lir.walk():
        if isinstance(statement, Buffer):
            _check_axis(lir, statement, statement, statement.axes, statement.pairs)
        elif isinstance(statement, Expression):
            _check_type(lir, statement)
            _check_operands(lir, statement, held)
            registers.check(statement)
            _define(lir, statement, held)


def _check_axis(
    lir: LinearIR, at: Buffer | Expression, held: Typed, axes: tuple[str, ...], pairs: str | None
) -> None:
    if pairs is not None and (pairs not in axes or not held.element.paired):
        raise fault(lir, at, f"pairs are of {PAIRED} elements along axis {pairs}")


def _check_type(lir: LinearIR, e: Expression) -> None:
    _check_axis(lir, e, e.type, e.type.axes, e.type.pairs)
    if e.type.pairs is not None and e.op not in MAKE_PAIRS and kind_of(e.op) != "cast":
        raise fault(lir, e, f"{e.op} makes no pairs")
    if "pairs" in e.attrs and e.over != (e.attrs["pairs"],):
        raise fault(lir, e, "a product of pairs is over their axis alone")
    if e.op == "pad" and e.attrs["axis"] != e.type.pairs:
        raise fault(lir, e, f"%{e.inputs[0]} has no axis {e.attrs['axis']} to pad")
    if "tiles" in e.attrs and "pairs" not in e.attrs:
        raise fault(lir, e, "a product in tiles is one of pairs")


def _check_operands(lir: LinearIR, e: Expression, held: dict[str, str | None]) -> None:
    """Moves and products find the pairs they want; a product that is whole may still round."""
    wanted = e.type.pairs if e.op in MOVES else e.attrs.get("pairs")
    for name in e.inputs[:2] if e.op in PRODUCTS else e.inputs:
        unrounded = e.op == "brgemm" and held.get(name) is None
        if name in held and held[name] != wanted and not unrounded:
            message = f"%{name} holds {_pairs(held[name])}, not {_pairs(wanted)}"
            raise fault(lir, e, message)


@dataclass
class _Registers:
    """The tile registers of each value, None if it has others, and what each of them holds."""

    lir: LinearIR
    values: dict[str, tuple[int, ...] | None] = field(default_factory=dict)
    holds: dict[int, str] = field(default_factory=dict)

    def check(self, e: Expression) -> None:
        """What is in tile registers is read there, and nowhere else."""
        mine = e.attrs.get("registers")
        if mine is not None and e.op not in HELD:
            raise fault(self.lir, e, f"{e.op} does not work on tile registers")
        read = {name: self.values[name] for name in e.inputs if name in self.values}
        if any((found is None) != (mine is None) for found in read.values()):
            raise fault(self.lir, e, f"{e.op} reads both tile registers and others")
        if e.op in ("store", "fma") and mine is not None and read[e.inputs[-1]] != mine:
            raise fault(self.lir, e, f"%{e.inputs[-1]} is in other tile registers")
        for name, found in read.items():
            if lost := [n for n in found or () if self.holds[n] != name]:
                message = f"tile register {lost[0]} holds %{self.holds[lost[0]]}, not %{name}"
                raise fault(self.lir, e, message)
        if e.output is not None:
            self.values[e.output] = mine
            self.holds |= dict.fromkeys(mine or (), e.output)


def _define(lir: LinearIR, e: Expression, held: dict[str, str | None]) -> None:
    """A register has pairs of one axis wherever it is assigned."""
    if e.output is None:
        return
    if held.setdefault(e.output, e.type.pairs) != e.type.pairs:
        raise fault(lir, e, f"%{e.output} holds {_pairs(held[e.output])} elsewhere")


def _pairs(axis: str | None) -> str:
    return "no pairs" if axis is None else f"pairs of axis {axis}"
