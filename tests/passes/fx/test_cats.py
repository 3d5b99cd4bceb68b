"""Tests of ``passes/fx/graph/cats.py``: cats of launches' results are part of their chain."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, fx

from snipjit.passes.fx import chain_launches
from tests.passes.fx.test_chains import launch, lines, results, twin
from tests.runtime.test_chain import Traced

X, Y = torch.randn(1, 4, 6), torch.randn(1, 3, 6)


def chained(function: Callable[..., Any], cats: bool = True) -> tuple[list[str], list[str]]:
    """The graph of a function after the pass and the bodies of its chains, checked by a run."""
    tracer = fx.Tracer(autowrap_functions=(launch, twin))
    gm = fx.GraphModule(torch.nn.Module(), tracer.trace(function))
    Traced(gm).run(X, Y)
    bodies: list[fx.Graph] = []

    def join(body: fx.Graph) -> Callable[..., Any]:
        bodies.append(body)
        return called(body)

    chain_launches(gm, results, join, cats)
    torch.testing.assert_close(gm(X, Y), function(X, Y), rtol=0, atol=0)
    return lines(gm.graph), [line for body in bodies for line in lines(body)]


def called(body: fx.Graph) -> Callable[..., Any]:
    module = fx.GraphModule(torch.nn.Module(), body)

    def chain(*args: Any) -> Any:
        return module(*args)

    return chain


def has_cat(body: list[str]) -> bool:
    return any("= cat(" in line for line in body)


def heads(x: Tensor) -> Tensor:
    return x.view(1, -1, 3, 2).transpose(1, 2)


def joint(x: Tensor, y: Tensor) -> Tensor:
    """As attention over two streams: results are put together behind views."""
    return launch(torch.cat([heads(launch(x)), heads(launch(y))], dim=-2))


def test_a_cat_between_launches() -> None:
    graph, body = chained(joint)
    assert [line.split(" = ")[1].split("(")[0] for line in graph] == [
        "chain",
        "getitem",
        "output",
    ]
    assert [line.split(" = ")[1].split("(")[0] for line in body] == [
        *("launch", "view", "transpose") * 2,
        *("cat", "launch", "output"),
    ]


def test_bodies_write_it_in_one_way() -> None:
    found: list[fx.Node] = []
    tracer = fx.Tracer(autowrap_functions=(launch, twin))
    gm = fx.GraphModule(torch.nn.Module(), tracer.trace(joint))
    Traced(gm).run(X, Y)

    def join(body: fx.Graph) -> Callable[..., Any]:
        found.extend(node for node in body.nodes if node.target is torch.cat)
        return called(body)

    chain_launches(gm, results, join)
    (cat,) = found
    assert cat.args[1] == 2
    assert not cat.kwargs


@pytest.mark.parametrize("name", ["cat", "concat", "concatenate"])
def test_every_spelling(name: str) -> None:
    join = getattr(torch, name)
    _, body = chained(lambda x, y: launch(join((launch(x), launch(y)), 1)))
    assert has_cat(body)


def test_without_cats() -> None:
    graph, body = chained(joint, cats=False)
    assert has_cat(graph)
    assert sum("= launch(" in line for line in body) == 2
    assert not has_cat(body)


def test_several_results_of_launches() -> None:
    def model(x: Tensor, y: Tensor) -> Tensor:
        one, two = twin(x), twin(y)
        first, second = (
            torch.cat([operator.getitem(one, i), operator.getitem(two, i)], 1) for i in (0, 1)
        )
        return launch(first, second)

    graph, body = chained(model)
    assert sum("= cat(" in line for line in body) == 2
    assert not has_cat(graph)


def test_cats_that_leave() -> None:
    """What others read must lie as PyTorch's, which puts one row behind the other."""

    def rows(x: Tensor, y: Tensor) -> Tensor:
        return torch.cat([launch(x), launch(y)], 1) + 1

    def across(x: Tensor, y: Tensor) -> Tensor:
        return torch.cat([heads(launch(x)), heads(launch(y))], 2) + 1

    def viewed(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        whole = torch.cat([heads(launch(x)), heads(launch(y))], 2)
        return launch(whole), whole.transpose(0, 1)

    graph, body = chained(rows)
    assert has_cat(body)
    assert graph[-2] == "add = add(getitem)"
    for model in (across, viewed):
        graph, body = chained(model)
        assert has_cat(graph)
        assert not has_cat(body)


def _argument(x: Tensor, y: Tensor) -> Tensor:
    return launch(torch.cat([launch(x), y], 1), launch(y)[:, :1])


def _read_by_others(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    one = launch(x)
    return one, launch(torch.cat([one, launch(y)], 1))


def _view_read_by_others(x: Tensor, y: Tensor) -> Tensor:
    one = launch(x).transpose(0, 1)
    return launch(torch.cat([one.transpose(0, 1), launch(y)], 1), launch(one[:1, :1]))


def _twice(x: Tensor, y: Tensor) -> Tensor:
    one = launch(x)
    return launch(torch.cat([one, one], 1), launch(x)[:, :1])


def _in_two(x: Tensor, y: Tensor) -> Tensor:
    one, two = launch(x), launch(y)
    return launch(torch.cat([one, two], 1), torch.cat([two, one], 1))


def _part(x: Tensor, y: Tensor) -> Tensor:
    return launch(torch.cat([launch(x)[:, 1:], launch(y)], 1))


def _repeated(x: Tensor, y: Tensor) -> Tensor:
    return launch(torch.cat([launch(x).expand(2, 4, 6), launch(y).expand(2, 3, 6)], 1))


def _promoted(x: Tensor, y: Tensor) -> Tensor:
    return launch(torch.cat([launch(x.double()), launch(y)], 1))


def _of_other_types(x: Tensor, y: Tensor) -> Tensor:
    parts = launch(x).view(torch.int32), launch(y).view(torch.int32)
    return launch(torch.cat(parts, 1).view(torch.float32))


def _one_result_by_two_nodes(x: Tensor, y: Tensor) -> Tensor:
    pair = twin(x)
    one, again = operator.getitem(pair, 0), operator.getitem(pair, 0)
    return launch(torch.cat([one, launch(y)], 1), launch(again[:, :1]))


def _operation_between(x: Tensor, y: Tensor) -> Tensor:
    pair = twin(x)
    one, two = operator.getitem(pair, 0), operator.getitem(pair, 1)
    return launch(torch.cat([one, launch(launch(two * 2))], 1))


def _effect_between(x: Tensor, y: Tensor) -> Tensor:
    one = launch(x)
    z = torch.cummax(y, 1)[0]
    return launch(torch.cat([one, launch(z)], 1), launch(z[:, :1]))


@pytest.mark.parametrize(
    "model",
    [
        *(_argument, _read_by_others, _view_read_by_others, _twice, _in_two, _part, _repeated),
        *(_promoted, _of_other_types, _one_result_by_two_nodes, _operation_between),
        _effect_between,
    ],
    ids=lambda model: model.__name__.strip("_"),
)
def test_cats_that_stay_pytorchs(model: Callable[..., Any]) -> None:
    graph, body = chained(model)
    assert has_cat(graph)
    assert not has_cat(body)


def test_what_reads_a_cat_that_stays_waits_for_it() -> None:
    def model(x: Tensor, y: Tensor) -> Tensor:
        return launch(launch(torch.cat([launch(launch(x)), y], 1)[:, 1:]))

    graph, body = chained(model)
    assert [line.split(" = ")[1].split("(")[0] for line in graph] == [
        *("chain", "getitem", "cat", "getitem", "chain", "getitem", "output")
    ]
    assert sum("= launch(" in line for line in body) == 4
