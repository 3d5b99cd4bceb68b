"""Report: what ``explain`` found, a summary first and every subgraph with its IR on request."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from snipjit.frontend.costs import Cost
from snipjit.refusal import Refusal

SHOWN = 3
"""How many places or forms of a kind a summary names."""


@dataclass(frozen=True)
class Explained:
    """One subgraph that becomes a kernel.

    nodes       the FX nodes it covers, in order
    tokenized   the Subgraph as lifted from the graph
    canonical   the same after data-flow optimization: equal texts share their kernels
    kernel      which of these serves the sizes that were traced: its schedule, ``rows``,
                ``columns`` or ``outputs``, and the sizes that are compiled in, as in ``rows_d64``
    linear      the final LinearIR of that one
    pattern     what was found: ``"attention"``, ``"linear"``
    form        it in a few words: ``768→3072 gelu``
    place       where it is in the model: module, file and line
    cost        operations and bytes at the sizes that were traced
    """

    nodes: tuple[str, ...]
    tokenized: str
    canonical: str
    kernel: str
    linear: str
    pattern: str = "attention"
    form: str = ""
    place: str = ""
    cost: Cost = field(default_factory=Cost)

    def __str__(self) -> str:
        return f"{' > '.join(self.nodes)}\n{self.canonical}"


@dataclass(frozen=True)
class Left:
    """An operation that PyTorch runs: its name, the line it comes from, what it costs."""

    operation: str
    line: str
    cost: Cost


@dataclass(frozen=True)
class Report:
    """Subgraphs found and candidates refused, over all graphs of the model.

    ``patterns`` are what was looked for, ``left`` is what PyTorch runs, ``sizes`` are the dynamic
    ones of an exported program's inputs, each with its range.
    """

    subgraphs: tuple[Explained, ...]
    refusals: tuple[Refusal, ...]
    graphs: int
    patterns: tuple[str, ...] = ()
    left: tuple[Left, ...] = ()
    sizes: tuple[str, ...] = ()

    def __str__(self) -> str:
        """The summary."""
        lines = (self._head(), *self._empty(), *self._sizes(), *self._kinds(), *self._rest())
        return "\n".join((*lines, *self._reasons(), *self._more()))

    def details(self) -> str:
        """Every subgraph with its nodes and its IR, and every refusal."""
        return "\n".join((self._head(), *self._fused(), *self._empty(), *self._refused()))

    @property
    def cost(self) -> Cost:
        """Of all that was traced."""
        return Cost.total([*(one.cost for one in self.subgraphs), *(one.cost for one in self.left)])

    def _head(self) -> str:
        """How many there are of everything."""
        kernels = len({(one.canonical, one.kernel) for one in self.subgraphs})
        counts = Counter(one.pattern for one in self.subgraphs)
        names = dict.fromkeys((*self.patterns, *counts))
        found = ", ".join(f"{counts[name]} {name}" for name in names) or "0"
        return (
            f"{found} subgraph(s) in {self.graphs} graph(s), {kernels} kernel(s); "
            f"{len(self.refusals)} refused"
        )

    def _sizes(self) -> Iterable[str]:
        if self.sizes:
            yield "\nsizes that may change"
            yield from (f"    {size}" for size in self.sizes)

    def _kinds(self) -> Iterable[str]:
        """A line for each kind of layer: how many, how many kernels, what share of the work."""
        if not self.subgraphs and not self.left:
            return
        yield f"\n{'share of all':27}{'flops':>10}{'bytes':>10}"
        yield self._titled("in kernels", Cost.total(one.cost for one in self.subgraphs))
        for pattern in dict.fromkeys(one.pattern for one in self.subgraphs):
            alike = [one for one in self.subgraphs if one.pattern == pattern]
            kernels = len({(one.canonical, one.kernel) for one in alike})
            forms = Counter(one.form for one in alike)
            told = [f"{times} of {form}" for form, times in forms.most_common()]
            told = [*forms] if len(forms) == 1 else told
            made = f"{kernels} kernel{'s' * (kernels != 1)}: {_some(told)}"
            yield self._row(len(alike), pattern, Cost.total(one.cost for one in alike), made)

    def _rest(self) -> Iterable[str]:
        """A line for each operation that stays in PyTorch and takes part of the work."""
        if not self.left:
            return
        yield self._titled("in PyTorch", Cost.total(one.cost for one in self.left))
        alike: dict[str, list[Left]] = {}
        for one in self.left:
            alike.setdefault(one.operation, []).append(one)
        costs = {name: Cost.total(one.cost for one in found) for name, found in alike.items()}
        order = sorted(alike, key=lambda name: self._share(costs[name]), reverse=True)
        for name in order[:SHOWN]:
            if self._share(costs[name]):
                lines = dict.fromkeys(one.line for one in alike[name] if one.line)
                yield self._row(len(alike[name]), name, costs[name], _some([*lines]))
        others = [name for name in order[SHOWN:] if self._share(costs[name])]
        if others:
            count = sum(len(alike[name]) for name in others)
            cost = Cost.total(costs[name] for name in others)
            yield self._row(count, "others", cost, _some(others))

    def _titled(self, title: str, cost: Cost) -> str:
        return f"{title:27}{self._percent(cost)}"

    def _row(self, count: int, kind: str, cost: Cost, told: str) -> str:
        return f"{count:5} × {kind:19}{self._percent(cost)}  {told}".rstrip()

    def _percent(self, cost: Cost) -> str:
        all = self.cost
        shares = ((cost.flops, all.flops), (cost.bytes, all.bytes))
        return "".join(f"{100 * part / whole if whole else 0:8.1f} %" for part, whole in shares)

    def _share(self, cost: Cost) -> float:
        all = self.cost
        return max(cost.flops / (all.flops or 1), cost.bytes / (all.bytes or 1))

    def _reasons(self) -> Iterable[str]:
        """Each reason once, with how often and where."""
        if not self.refusals:
            return
        yield "\nrefused"
        for refusals in self._alike():
            first = refusals[0]
            how = " as expected" if first.is_expected else ""
            yield f"{len(refusals):5} × {first.pattern}{how}: {first.reason}"
            places = dict.fromkeys(one.place or one.node for one in refusals)
            yield f"{'':8}{_some([*places])}"

    def _more(self) -> Iterable[str]:
        if self.subgraphs:
            yield "\nreport.details(), on the command line --detail: every subgraph with its IR"

    def _fused(self) -> Iterable[str]:
        """Lines for each subgraph; the IR of a kernel stands where it is first used."""
        shown: dict[tuple[str, str], int] = {}
        for number, one in enumerate(self.subgraphs, 1):
            first, *_, last = (*one.nodes, *one.nodes)
            covers = first if one.nodes == (first,) else f"{first} … {last}"
            kernel = one.canonical, one.kernel
            yield f"\n[{number}] {one.pattern}: {covers} ({len(one.nodes)} nodes) into {one.kernel}"
            if one.place:
                yield f"    {one.place}"
            yield "    " + " ▸ ".join(one.nodes)
            if kernel in shown:
                yield f"    the same kernel as [{shown[kernel]}]"
            else:
                shown[kernel] = number
                yield from ("    " + line for line in one.canonical.splitlines())

    def _empty(self) -> Iterable[str]:
        if not self.graphs:
            yield (
                "\nno graph was traced: pass the model itself or its method, and no function that "
                "calls what was compiled before"
            )

    def _refused(self) -> Iterable[str]:
        """Lines for each reason, with all places that it was the reason at."""
        for refusals in self._alike():
            first = refusals[0]
            places = ", ".join(f"{one.place or one.node}" for one in refusals)
            how = ", as expected" if first.is_expected else ""
            yield f"\n[refused{how}] {first.pattern}: {places}\n    {first.reason}"

    def _alike(self) -> list[list[Refusal]]:
        """The refusals by their reasons."""
        alike: dict[tuple[str, bool, str], list[Refusal]] = {}
        for one in self.refusals:
            alike.setdefault((one.pattern, one.is_expected, one.reason), []).append(one)
        return list(alike.values())


def _some(items: Sequence[str], most: int = SHOWN) -> str:
    """The first few, and how many there are besides."""
    more = f" and {len(items) - most} more" if len(items) > most else ""
    return ", ".join(items[:most]) + more
