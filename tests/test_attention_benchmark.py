"""The attention benchmark: every form computes the same, wrong and missing peers are absent."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import pytest
import torch

from benchmarks import attention, contestants, rows
from benchmarks.contestants import COMPILE, OURS, READ, Contestants, prepare
from benchmarks.meanings import MEANINGS, exact, visible_pairs
from benchmarks.peers import flex, openvino, sdpa
from benchmarks.peers.base import Absent, Inputs, own_code
from benchmarks.peers.table import PEERS
from benchmarks.precisions import BF16, F16, F32, PRECISIONS, Precision
from benchmarks.results import Result, below, mean_lead
from benchmarks.rounds import Timing
from benchmarks.rows import COLD_BYTES, ROWS, Row, select
from benchmarks.sources import SOURCES, WINDOW, Form

SMALL = [
    Row(name, name, 2, 4, 37, 16, kv_heads=2 if name in ("grouped", "causal", "soft_cap") else 0)
    for name in SOURCES
]
NARROW = [replace(row, precision=precision) for precision, row in product((BF16, F16), SMALL)]
TINY = Row("tiny", "grouped", 1, 4, 1, 16, keys=64, kv_heads=2, cold=True)


def in_type(row: Row) -> str:
    return f"{row.name}-{row.precision.name}"


def as_double(inputs: Inputs) -> Inputs:
    return tuple(x.double() if x.is_floating_point() else x for x in inputs)


def test_rows_have_the_shapes_they_name() -> None:
    row = Row("small", "causal", 2, 6, 5, 8, kv_heads=3)
    assert [t.shape for t in row.inputs()] == [(2, 6, 5, 8), (2, 3, 5, 8), (2, 3, 5, 8)]
    assert row.flops(row.inputs()) == 4 * 8 * (2 * 6 * 15)
    assert row.shape == "2,6/3,5,8"
    assert torch.equal(row.inputs()[0], row.inputs()[0])
    assert len({row.name for row in ROWS}) == len(ROWS)
    assert {row.source for row in ROWS} == set(SOURCES) == set(MEANINGS)
    assert select([]) == list(ROWS)
    assert select(["cross"])[0].shape == "2,8,4096×77,40"
    assert {row.precision for row in select([], BF16)} == {BF16}


@pytest.mark.parametrize("row", [*SMALL, *NARROW], ids=in_type)
def test_a_row_has_floats_of_its_type_alone(row: Row) -> None:
    inputs = row.inputs()
    floats = {tensor.dtype for tensor in inputs if tensor.is_floating_point()}
    assert floats == {row.model.form(*inputs).dtype} == {row.precision.dtype}
    assert all(tensor.isfinite().all() for tensor in inputs)


@pytest.mark.parametrize(("precision", "count"), [(F32, 4), (BF16, 8), (F16, 8)])
def test_cold_rows_have_more_keys_and_values_than_the_caches_hold(
    precision: Precision, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rows, "COLD_BYTES", COLD_BYTES // 64)
    row = Row("cold", "padding", 1, 8, 1, 64, keys=256, cold=True, precision=precision)
    sets = row.input_sets()
    assert len(sets) == count
    assert sum(k.nbytes + v.nbytes for _, k, v, _ in sets) >= COLD_BYTES // 64
    assert not torch.equal(sets[0][1], sets[1][1])
    assert sets[0][3] is sets[1][3]
    assert len(Row("warm", "plain", 1, 2, 5, 8).input_sets()) == 1


@pytest.mark.parametrize("row", SMALL, ids=lambda row: row.name)
def test_sources_compute_what_their_meaning_says(row: Row) -> None:
    inputs = row.inputs()
    result = row.model.form(*as_double(inputs))
    torch.testing.assert_close(result, exact(row.meaning, inputs), rtol=0, atol=1e-5)


@pytest.mark.parametrize("row", NARROW, ids=in_type)
def test_sources_compute_the_same_in_16_bits(row: Row) -> None:
    inputs = row.inputs()
    difference = row.model.form(*inputs) - exact(row.meaning, inputs)
    # What is added to the scores here makes them large, and they are rounded before the softmax.
    rough = 8 if row.source in ("relative_bias", "alibi") else 1
    assert difference.abs().max() < rough * row.precision.largest_error


@pytest.mark.parametrize("row", [*SMALL, TINY], ids=lambda row: row.name)
def test_every_form_with_sdpa_equals_its_source(row: Row) -> None:
    if row.source == "soft_cap":
        with pytest.raises(Absent, match="no soft cap"):
            sdpa.build(row, row.inputs())
        return
    inputs = as_double(row.inputs())
    wanted = row.model.form(*inputs)
    for form in sdpa.forms(row):
        result = form(*inputs[:3], *sdpa.shared_mask(row, inputs))
        torch.testing.assert_close(result, wanted, rtol=0, atol=1e-5)
    built = sdpa.build(row, inputs)
    torch.testing.assert_close(built(*inputs), wanted, rtol=0, atol=1e-5)


@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
@pytest.mark.parametrize("row", SMALL, ids=lambda row: row.name)
def test_modifications_of_flex_attention_give_the_same(
    row: Row, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "compile", lambda function, **_: function)  # seconds for each
    inputs = as_double(row.inputs())
    result = flex.build(row, inputs)(*inputs)
    torch.testing.assert_close(result, row.model.form(*inputs), rtol=0, atol=1e-5)


def test_visible_pairs_are_counted_where_the_mask_shows_them() -> None:
    assert visible_pairs(MEANINGS["plain"], Row("", "plain", 2, 3, 5, 8).inputs()) == 2 * 3 * 25
    length = WINDOW + 10
    window = visible_pairs(MEANINGS["soft_cap"], Row("", "soft_cap", 1, 1, length, 8).inputs())
    assert window == length * (length + 1) // 2 - 10 * 11 // 2
    row = Row("", "builder", 2, 3, 16, 8)
    inputs = row.inputs()
    seen = [min(i + 1, int(text.sum())) for text in inputs[3] for i in range(16)]
    assert visible_pairs(row.meaning, inputs) == 3 * sum(seen)


def prepared(row: Row, *peers: str) -> tuple[Contestants, dict[str, float]]:
    with torch.inference_mode():
        found = prepare(row, [row.inputs(), row.inputs()], peers)
        return found, attention.check(found, row, row.inputs())


@pytest.mark.parametrize(
    "row",
    [
        *SMALL,
        NARROW[0],
        NARROW[-1],
        *(pytest.param(row, marks=pytest.mark.long) for row in NARROW[1:-1]),
    ],
    ids=in_type,
)
def test_our_launcher_runs_every_source(row: Row) -> None:
    with torch.inference_mode():
        inputs = [row.inputs(), row.inputs(seed=1)]
        for call, tensors in zip(
            contestants.launcher_calls(row.model.form, inputs), inputs, strict=True
        ):
            difference = call() - exact(row.meaning, tensors)
            assert difference.abs().max() < row.precision.largest_error


@pytest.mark.parametrize("precision", PRECISIONS.values(), ids=lambda precision: precision.name)
def test_contestants_are_checked(precision: Precision) -> None:
    found, errors = prepared(replace(TINY, precision=precision), "eager", "sdpa")
    assert set(errors) == set(found.calls) == {OURS, COMPILE, READ, "eager", "sdpa"}
    assert max(errors.values()) < precision.largest_error / 4
    assert errors[READ] == 0
    assert not found.absent


def test_contestants_take_turns() -> None:
    calls = Contestants({name: [lambda: 1, lambda: 2, lambda: 3] for name in "ab"}).in_turn()
    assert [calls[name]() for name in "abba"] == [1, 2, 3, 1]


def test_wrong_and_failing_contestants_are_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(row: Row, inputs: Inputs) -> Form:
        raise RuntimeError("no such luck\nand more")

    def zeros(row: Row, inputs: Inputs) -> Form:
        return lambda q, *_: torch.zeros_like(q)

    monkeypatch.setitem(PEERS, "flex", fail)
    monkeypatch.setitem(PEERS, "inductor", zeros)
    found, errors = prepared(Row("small", "soft_cap", 1, 2, 5, 8), "flex", "inductor", "sdpa")
    assert set(found.calls) == {OURS, COMPILE}
    assert found.absent["flex"] == "RuntimeError: no such luck"
    assert found.absent["sdpa"] == "it has no soft cap"
    assert "differs from float64 by" in found.absent["inductor"]
    assert errors["inductor"] > 0.01


def test_a_peer_may_be_as_rough_as_the_source_but_ours_may_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    row = replace(TINY, precision=replace(BF16, largest_error=0.0))
    with torch.inference_mode():
        inputs = row.inputs()
        rough: list[contestants.Call] = [lambda: row.model.form(*inputs)]
        found = Contestants({OURS: rough, "eager": rough, "flex": [lambda: inputs[0] * 9]})
        attention.check(found, row, inputs)
    assert set(found.calls) == {"eager"}
    assert set(found.absent) == {OURS, "flex"}


def test_a_graph_without_one_attention_is_absent() -> None:
    found = Contestants()
    q = torch.randn(1, 2, 5, 8)
    with torch.inference_mode():
        found.add(OURS, lambda: contestants.launcher_calls(lambda q, k, v: q + k, [(q, q, q)]))
    assert "0 kernels instead of one" in found.absent[OURS]


def test_openvino_says_when_it_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr(openvino, "import_module", missing)
    with pytest.raises(Absent, match="not installed"):
        openvino.build(TINY, TINY.inputs())


def test_openvino_computes_the_row() -> None:
    pytest.importorskip("openvino")
    for row in (SMALL[1], TINY, replace(SMALL[1], precision=BF16), replace(TINY, precision=F16)):
        inputs = row.inputs()
        result = openvino.build(row, inputs)(*inputs)
        assert result.dtype == row.precision.dtype
        difference = result - exact(row.meaning, inputs)
        assert difference.abs().max() < row.precision.largest_error / 2


def test_own_code_is_another_code_object() -> None:
    form = SOURCES["plain"].form
    copy = own_code(form)
    assert copy.__code__ is not form.__code__
    inputs = SMALL[0].inputs()
    assert torch.equal(copy(*inputs), form(*inputs))


def test_results_are_summed_up() -> None:
    def result(name: str, seconds: dict[str, list[float]], precision: Precision = F32) -> Result:
        row = Row(name, "plain", 1, 1, 1, 1, precision=precision)
        return Result(row, 10, Timing(seconds), {}, {})

    good = result("good", {OURS: [1.0], COMPILE: [2.0], "eager": [9.0], "sdpa": [4.0]})
    bad = result("bad", {OURS: [1.0], COMPILE: [2.0], "eager": [1.0], READ: [0.5]})
    lost = result("lost", {"eager": [1.0]})
    alone = result("alone", {OURS: [1.0]})
    results = [good, bad, lost, alone]
    assert (good.best_peer, good.lead(OURS), good.lead(COMPILE), good.rate) == ("sdpa", 4, 2, 10)
    assert (bad.of_read_speed, alone.best_peer, lost.rate) == (0.5, None, None)
    assert mean_lead(results, OURS) == pytest.approx(2.0)
    assert [found.row.name for found in below(results)] == ["bad", "lost"]
    assert lost.as_dict(1e9)["lead"] is None
    close = {OURS: [1.0], "eager": [1.5]}
    assert [bool(below([result("", close, each)])) for each in (F32, BF16, F16)] == [0, 1, 0]
