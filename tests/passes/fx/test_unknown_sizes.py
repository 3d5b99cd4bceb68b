from __future__ import annotations

from snipjit.passes.fx.lift.unknown_sizes import dim_of_unknown_sizes


def test_one_unknown_in_a_dim_follows_from_its_size() -> None:
    assert dim_of_unknown_sizes([("h", "d")], [], {"d"}) is None


def test_two_unknowns_stay_unknown() -> None:
    assert dim_of_unknown_sizes([("h", "d")], [], set()) == ("h", "d")


def test_a_dim_that_meets_another_has_its_size() -> None:
    assert dim_of_unknown_sizes([("b", "h"), ("c",)], [(("b",), ("c",))], set()) is None


def test_products_pass_sizes_on() -> None:
    dims = [("b", "h"), ("x", "y"), ("x",)]
    pairs = [(("b", "h"), ("x", "y")), (("h",), ("y",))]
    assert dim_of_unknown_sizes(dims, pairs, set()) is None
