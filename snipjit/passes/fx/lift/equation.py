"""The equation of an einsum: which labels its two operands and its result have."""

from __future__ import annotations

from dataclasses import dataclass

from snipjit.passes.fx.nodes.refused import RefusedError

Labels = tuple[str, ...]


@dataclass(frozen=True)
class Equation:
    """The labels of a product's operands and result, one a dim.

    >>> e = Equation.of("b i d, b j d -> b i j", 3, 3)
    >>> e.summed, e.batch, e.left_only, e.right_only
    (('d',), ('b',), ('i',), ('j',))
    >>> Equation.of("...ij,...jd", 3, 4).result
    ('.2', '.1', 'd', 'i')
    """

    left: Labels
    right: Labels
    result: Labels

    @staticmethod
    def of(text: str, left: int, right: int) -> Equation:
        """Read an equation for operands of the given ranks; refused if it is not one product."""
        operands, arrow, result = text.replace(" ", "").partition("->")
        terms = operands.split(",")
        if len(terms) != 2:
            raise RefusedError(f"einsum `{text}` has {len(terms)} operands; accepted: two")
        sides = [_labels(term, rank) for term, rank in zip(terms, (left, right), strict=True)]
        hidden = max((_ellipsis(side) for side in sides), key=len)
        if arrow:
            labels = _spread(result, hidden)
        else:
            given = [label for side in sides for label in side if label not in hidden]
            labels = (*hidden, *sorted(label for label in given if given.count(label) == 1))
        equation = Equation(sides[0], sides[1], labels)
        equation._check(text)
        return equation

    def _check(self, text: str) -> None:
        for labels in (self.left, self.right, self.result):
            if len(set(labels)) != len(labels):
                raise RefusedError(
                    f"einsum `{text}` has a label twice; accepted: diagonals outside"
                )
        if set(self.left) ^ set(self.right) != {*self.left_only, *self.right_only}:
            raise RefusedError(
                f"einsum `{text}` sums over a label of one operand; accepted: labels of both"
            )

    @property
    def summed(self) -> Labels:
        """The labels of both operands that the result lacks, as the left one orders them."""
        return tuple(x for x in self.left if x in self.right and x not in self.result)

    @property
    def batch(self) -> Labels:
        """The labels of both operands that the result keeps, in its order."""
        return tuple(x for x in self.result if x in self.left and x in self.right)

    @property
    def left_only(self) -> Labels:
        """The labels that the result has from the left operand alone, in its order."""
        return tuple(x for x in self.result if x in self.left and x not in self.right)

    @property
    def right_only(self) -> Labels:
        """The labels that the result has from the right operand alone, in its order."""
        return tuple(x for x in self.result if x in self.right and x not in self.left)

    def flipped(self) -> Equation:
        """The same product with the operands exchanged."""
        return Equation(self.right, self.left, self.result)


def _labels(term: str, rank: int) -> Labels:
    """The labels of an operand; dims under its ellipsis are numbered from the last."""
    hidden = rank - len(term.replace("...", "")) if "..." in term else 0
    return _spread(term, tuple(f".{number}" for number in range(hidden, 0, -1)))


def _ellipsis(labels: Labels) -> Labels:
    return tuple(label for label in labels if label.startswith("."))


def _spread(term: str, hidden: Labels) -> Labels:
    before, dots, after = term.partition("...")
    return (*before, *(hidden if dots else ()), *after)
