"""Tests of ``passes/fx/graph/chains.py`` and ``launch_levels.py``; functions stand for kernels."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, fx

from snipjit.passes.fx import chain_launches, is_state, note_state


def launch(*args: Any) -> Tensor:
    result: Tensor = sum(args, torch.zeros(()))
    return result * 0.5


def twin(*args: Any) -> tuple[Tensor, Tensor]:
    return launch(*args), launch(*args) + 1


def results(node: fx.Node) -> int:
    return 1 if node.target is launch else 2 * (node.target is twin)


def chained(function: Callable[..., Any], *inputs: Tensor) -> tuple[list[str], list[str]]:
    """The graph of a function after the pass and the bodies of its chains, checked by a run."""
    tracer = fx.Tracer(autowrap_functions=(launch, twin))
    gm = fx.GraphModule(torch.nn.Module(), tracer.trace(function))
    bodies: list[fx.Graph] = []

    def join(body: fx.Graph) -> Callable[..., Any]:
        bodies.append(body)

        def chain(*args: Any) -> Any:
            return fx.GraphModule(torch.nn.Module(), body)(*args)

        return chain

    chain_launches(gm, results, join)
    torch.testing.assert_close(
        gm(*(x.clone() for x in inputs)), function(*(x.clone() for x in inputs)), rtol=0, atol=0
    )
    return lines(gm.graph), [line for body in bodies for line in lines(body)]


def lines(graph: fx.Graph) -> list[str]:
    """``name = target(operands)`` of each node but inputs."""
    found = []
    for node in graph.nodes:
        if node.op != "placeholder":
            name = getattr(node.target, "__name__", node.target)
            operands = ", ".join(source.name for source in node.all_input_nodes)
            found.append(f"{node.name} = {name}({operands})")
    return found


X, Y = torch.randn(2, 4, 6), torch.randn(2, 4, 6)


def test_views_between_launches_go_into_the_chain() -> None:
    def model(x: Tensor, y: Tensor) -> Tensor:
        made = launch(x, y)
        heads = made.view(2, 4, 3, 2).transpose(1, 2)
        return launch(heads.transpose(1, 2).reshape(2, 4, 6), y) + 1

    graph, body = chained(model, X, Y)
    assert graph == ["chain = chain(x, y)", "getitem = getitem(chain)", "add = add(getitem)",
                     "output = output(add)"]  # fmt: skip
    assert [line.split(" = ")[1].split("(")[0] for line in body] == [
        *("launch", "view", "transpose", "transpose", "reshape", "launch", "output")
    ]


def test_what_stands_between_goes_before_or_after() -> None:
    def model(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        one = launch(x)
        number = y.sum()
        read = one + 1
        two = launch(one, number)
        return read, two

    graph, _ = chained(model, X, Y)
    assert graph[:2] == ["sum_1 = sum(y)", "chain = chain(x, sum_1)"]


def test_an_operation_between_cuts_once_for_all_streams() -> None:
    def model(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        one = launch(launch(x))
        one = launch(launch(one * 2))
        two = launch(launch(y))
        return one, launch(launch(two * 2))

    graph, body = chained(model, X, Y)
    assert sum("chain(" in line for line in graph) == 2
    assert sum("launch(" in line for line in body) == 8


def test_a_launch_waits_for_its_readers() -> None:
    """Its result would lie in memory all the while."""

    def model(x: Tensor, y: Tensor) -> Tensor:
        late = launch(y)
        first = launch(launch(x))
        return launch(late, launch(first * 2))

    _, body = chained(model, X, Y)
    assert body.index("launch = launch(y)") + 1 == body.index("launch_3 = launch(mul)")


@pytest.mark.parametrize("effect", ["in place", "unknown", "random"])
def test_nothing_moves_past_an_effect(effect: str) -> None:
    def model(x: Tensor, y: Tensor) -> Tensor:
        made = launch(x)
        if effect == "in place":
            y.add_(1)
        elif effect == "unknown":
            y = torch.cummax(y, 1)[0]
        else:
            y = torch.nn.functional.dropout(y, 0.0)
        return launch(made, y)

    graph, _ = chained(model, X, Y)
    assert not any("chain" in line for line in graph)


def test_views_that_others_read_stay() -> None:
    def model(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        view = launch(x).transpose(0, 1)
        return view, launch(view.transpose(0, 1), y)

    graph, body = chained(model, X, Y)
    assert [line.split(" = ")[1].split("(")[0] for line in graph] == [
        *("chain", "getitem", "getitem", "transpose", "output")
    ]
    assert sum("= transpose(" in line for line in body) == 2


def test_several_results() -> None:
    def model(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        pair = twin(x)
        one, two = operator.getitem(pair, 0), operator.getitem(pair, 1)
        return launch(one, y), two[:, 1:]

    graph, body = chained(model, X, Y)
    assert sum("= getitem(" in line for line in graph) == 3
    assert sum("= getitem(" in line for line in body) == 2


def test_one_launch_alone_stays() -> None:
    graph, body = chained(lambda x, y: launch(launch(x) + y), X, Y)
    assert not body
    assert graph[0] == "launch = launch(x)"


def test_the_body_notes_what_the_module_hands_over() -> None:
    graph, bodies = fx.Graph(), list[fx.Graph]()
    x, y = graph.placeholder("x"), graph.placeholder("y")
    note_state([y])
    first = graph.call_function(launch, (x, y))
    graph.output(graph.call_function(launch, (first, y)))

    def join(body: fx.Graph) -> Callable[..., Any]:
        bodies.append(body)
        return launch

    chain_launches(fx.GraphModule(torch.nn.Module(), graph), results, join)
    inputs = [node for body in bodies for node in body.nodes if node.op == "placeholder"]
    assert [(node.name, is_state(node)) for node in inputs] == [("x", False), ("y", True)]
