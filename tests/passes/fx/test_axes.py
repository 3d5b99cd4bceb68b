from __future__ import annotations

import pytest

from snipjit.ir.subgraph import Dim
from snipjit.passes.fx.lift.axes import Axes
from snipjit.passes.fx.nodes.refused import RefusedError


def _axes(**sizes: int) -> tuple[Axes, list[Dim]]:
    axes = Axes()
    return axes, [(axes.new(name, size),) for name, size in sizes.items()]


def test_split_and_merge() -> None:
    axes, dims = _axes(b=2, m=7, c=32)
    split = axes.regroup(dims, [2, 7, 4, 8])
    assert split == (("b",), ("m",), ("c_0",), ("c_1",))
    assert axes.leaves(("c",)) == ("c_0", "c_1")
    assert axes.regroup(split, [14, 32]) == (("b", "m"), ("c_0", "c_1"))


def test_a_batch_of_one_folds_as_any_other() -> None:
    axes, dims = _axes(b=1, h=4, m=7, d=8)
    assert axes.regroup(dims, [4, 7, 8]) == (("b", "h"), ("m",), ("d",))


def test_one_head_folds_into_the_batch() -> None:
    axes, dims = _axes(b=2, h=1, m=7, d=8)
    assert axes.regroup(dims, [2, 7, 8]) == (("b", "h"), ("m",), ("d",))


def test_one_key_head_joins_its_repeats() -> None:
    axes, (b, h, n) = _axes(b=2, h=1, n=9)
    repeated = (axes.expand(4),)
    assert axes.regroup([b, h, repeated, n], [2, 4, 9]) == (b, ("h", "g0"), n)


def test_new_dims_of_size_one() -> None:
    axes, dims = _axes(b=2, n=9)
    assert axes.regroup(dims, [2, 1, 1, 9]) == (("b",), (), (), ("n",))


def test_what_is_left_matches_by_elimination() -> None:
    axes, dims = _axes(b=2, c=33, n=9)
    # 33 as 4 · 8 stands for sizes whose product the symbols do not show.
    assert axes.regroup(dims, [2, 4, 8, 9]) == (("b",), ("c_0",), ("c_1",), ("n",))


def test_dims_without_elements() -> None:
    """Any product with a 0 in it is 0: what is left tells how many dims are meant."""
    axes, (b, m, c) = _axes(b=0, m=13, c=24)
    assert axes.regroup([b, m, c], [0, 24]) == (("b", "m"), c)
    assert axes.regroup([b, m, c], [0, 13, 4, 6]) == (b, m, ("c_0",), ("c_1",))
    assert axes.regroup([m, b, c], [0, 24]) == (("m", "b"), c)


def test_other_cuts_are_refused() -> None:
    axes, dims = _axes(h=4, m=7)
    with pytest.raises(RefusedError, match="regroups elements; accepted: splits and merges"):
        axes.regroup(dims, [2, 14])
