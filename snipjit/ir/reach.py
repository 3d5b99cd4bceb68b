"""Reach: how much of each axis is at hand where a product stands, as the plans say."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from snipjit.ir.expression import Expression
from snipjit.ir.linear_ir import LinearIR


@dataclass(frozen=True)
class Reach:
    """What the loops around a place leave; ``streams``: it is inside the loop that streams."""

    lir: LinearIR
    streams: bool

    @staticmethod
    def of(lir: LinearIR, e: Expression) -> Reach:
        """Where an Expression will stand."""
        axes = {*e.type.axes, *e.over}
        return Reach(lir, any(plan.block and axis in axes for axis, plan in lir.plans.items()))

    @property
    def task_axes(self) -> list[str]:
        """The axes of which a task has a part."""
        return [axis for axis, plan in self.lir.plans.items() if plan.task]

    def most(self, axis: str) -> int | None:
        """The most elements of an axis at once; None if that is unbounded."""
        plan = self.lir.plans.get(axis)
        if plan is not None and (plan.task or (self.streams and plan.block)):
            return plan.task or plan.block
        return self.lir.axes[axis]

    def is_bounded(self, axes: Iterable[str]) -> bool:
        """Whether there is a bounded number of elements of every axis at once."""
        return all(self.most(axis) is not None for axis in axes)

    def is_blocked(self, axes: Iterable[str]) -> bool:
        """Whether the loop that streams leaves but a part of an axis."""
        return self.streams and any(
            axis in self.lir.plans and self.lir.plans[axis].block for axis in axes
        )
