"""Whole models whose launches are chains: results, memory and counters as without them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import snipjit
from snipjit.frontend import chains
from snipjit.runtime.chain import Chain
from snipjit.runtime.chain_plans import BY_MEMBERS

pytestmark = pytest.mark.all_patterns

WIDTH, HEADS = 48, 4
LONG_PREPARED = pytest.param("prepared", marks=pytest.mark.long)


class Layer(nn.Module):
    """An encoder layer as models write it."""

    def __init__(self) -> None:
        super().__init__()
        self.q, self.k, self.v, self.o = (nn.Linear(WIDTH, WIDTH) for _ in range(4))
        self.up, self.down = nn.Linear(WIDTH, 2 * WIDTH), nn.Linear(2 * WIDTH, WIDTH)
        self.norms = nn.ModuleList(nn.LayerNorm(WIDTH) for _ in range(2))

    def heads(self, x: Tensor) -> Tensor:
        return x.view(*x.shape[:-1], HEADS, WIDTH // HEADS).transpose(1, 2)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        q, k, v = self.heads(self.q(x)), self.heads(self.k(x)), self.heads(self.v(x))
        scores = q @ k.mT / 12**0.5 + mask
        mixed = (scores.softmax(-1) @ v).transpose(1, 2).flatten(2)
        x = self.norms[0](x + F.dropout(self.o(mixed), 0.1, self.training))
        result: Tensor = self.norms[1](x + self.down(F.gelu(self.up(x))))
        return result


class Encoder(nn.Module):
    """Layers with their input embedded, and the mean of their result."""

    def __init__(self, layers: int = 3) -> None:
        super().__init__()
        self.words = nn.Embedding(100, WIDTH)
        self.layers = nn.ModuleList(Layer() for _ in range(layers))

    def forward(self, ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        x = self.words(ids)
        for layer in self.layers:
            x = layer(x, mask)
        return x, x.mean(1)


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Chain]]:
    """The chains that a test makes."""
    found: list[Chain] = []

    class Noted(Chain):
        def __init__(self, *args: Any, **given: Any) -> None:
            super().__init__(*args, **given)
            found.append(self)

    monkeypatch.setattr(chains, "Chain", Noted)
    torch._dynamo.reset()
    yield found
    torch._dynamo.reset()


def model(layers: int = 3) -> Encoder:
    torch.manual_seed(0)
    return Encoder(layers).eval()


def text(length: int, batch: int = 2) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(length)
    ids = torch.randint(100, (batch, length), generator=generator)
    return ids, torch.randn(batch, 1, 1, length, generator=generator)


def check(compiled: Any, plain: nn.Module, *inputs: Tensor) -> None:
    wanted = plain(*inputs)
    torch.testing.assert_close(compiled(*inputs), wanted, atol=1e-5, rtol=1e-4, equal_nan=True)


@pytest.mark.parametrize("weights", ["in_place", LONG_PREPARED])
def test_a_model_is_one_chain(made: list[Chain], weights: str) -> None:
    plain = model()
    compiled = torch.compile(plain, backend="snipjit", dynamic=True, options={"weights": weights})
    snipjit.reset_stats()
    with torch.inference_mode():
        for length in (31, 7, 64, 31, 2, 7):
            check(compiled, plain, *text(length))
    (chain,) = made
    assert len(chain.script.members) == 3 * 7
    assert len(chain.script.weights) == 3 * (6 + 2) * 2
    assert chain.planner.colouring is not None
    assert chain.planner.colouring.count <= 6
    assert snipjit.stats().kernel_calls == 6 * 3 * 7
    with torch.inference_mode():
        for length in (1, 31, 0, 31):
            check(compiled, plain, *text(length))
    with torch.no_grad():
        check(compiled, plain, *text(31, batch=1))


def test_a_layer_of_llama_is_eight_phases(made: list[Chain]) -> None:
    """Queries and the fewer keys and values are two launches, which do not wait for each other."""
    pytest.importorskip("transformers")
    from tests.models import named

    llama = named("Llama").model("sdpa")

    class Hidden(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.llama = llama

        def forward(self, ids: Tensor) -> Tensor:
            result: Tensor = self.llama(input_ids=ids, use_cache=False).last_hidden_state
            return result

    compiled = torch.compile(Hidden(), backend="snipjit", dynamic=True)
    with torch.inference_mode():
        for length in (31, 7, 64):
            check(compiled, Hidden(), text(length)[0])
    (chain,) = made
    layers = int(llama.config.num_hidden_layers)  # type: ignore[union-attr,arg-type]
    assert len({*chain.script.phases}) <= 8 * layers + 1
    assert len(chain.script.members) == 9 * layers + 1


def test_weights_that_change(made: list[Chain]) -> None:
    plain = model(1)
    for weights in ("in_place", "prepared"):
        compiled = torch.compile(plain, backend="snipjit", options={"weights": weights})
        with torch.no_grad():
            check(compiled, plain, *text(9))
            for parameter in plain.parameters():
                parameter.mul_(0.9)
            check(compiled, plain, *text(9))
            weight = plain.get_parameter("layers.0.up.weight")
            weight.data = weight.data.mT.contiguous().mT  # laid out otherwise
            snipjit.refresh(plain)
            check(compiled, plain, *text(9))


def test_programs(made: list[Chain]) -> None:
    plain = model()
    for weights in ("in_place", "prepared"):
        program = snipjit.compile(plain, text(9), options={"weights": weights})
        for length in (9, 31, 5, 9):
            with torch.no_grad():
                check(program, plain, *text(length))
    assert len(made) == 2
    assert all(len(chain.script.members) == 3 * 7 for chain in made)


def test_the_rest_by_inductor_has_no_chains(made: list[Chain]) -> None:
    plain = model(1)
    exported = torch.export.export(plain, text(9))
    snipjit.compile(exported, options={"rest": "eager"})
    assert made
    made.clear()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("snipjit.frontend.program.compile_by_inductor", lambda gm, examples: gm)
        snipjit.compile(exported, options={"rest": "inductor"})
    assert not made


def test_results_of_layers_that_are_returned(made: list[Chain]) -> None:
    """They are the caller's own, the next call does not write to them."""

    class States(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoder = Encoder()

        def forward(self, ids: Tensor, mask: Tensor) -> list[Tensor]:
            states = [self.encoder.words(ids)]
            for layer in self.encoder.layers:
                states.append(layer(states[-1], mask))
            return states

    plain = States().eval()
    compiled = torch.compile(plain, backend="snipjit", dynamic=True)
    with torch.inference_mode():
        kept = [(length, compiled(*text(length))) for length in (31, 31, 9, 31, 64)]
        for length, states in kept:
            torch.testing.assert_close(states, plain(*text(length)), atol=1e-5, rtol=1e-4)


def test_gradients_leave_pytorchs_nodes(made: list[Chain]) -> None:
    plain = model(1).requires_grad_(False)
    compiled = torch.compile(plain, backend="snipjit", dynamic=True)
    ids, mask = text(9)
    wanted = plain(ids, mask)[0].sum()
    check(compiled, plain, ids, mask)
    mask.requires_grad_(True)
    with pytest.warns(UserWarning, match="no_grad"):
        result = compiled(ids, mask)[0].sum()
    torch.testing.assert_close(result, wanted)
    result.backward()
    assert mask.grad is not None


def test_two_threads_call_one_model(made: list[Chain]) -> None:
    plain = model()
    compiled = torch.compile(plain, backend="snipjit", dynamic=True)
    with torch.inference_mode():
        check(compiled, plain, *text(5))
        check(compiled, plain, *text(6))
    errors: list[BaseException] = []

    def work(first: int) -> None:
        try:
            with torch.inference_mode():
                for length in range(first, 40, 3):
                    check(compiled, plain, *text(length))
        except BaseException as error:
            errors.append(error)

    workers = [threading.Thread(target=work, args=(first,)) for first in (3, 4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not errors


def test_under_a_profiler(made: list[Chain]) -> None:
    plain = model(1)
    compiled = torch.compile(plain, backend="snipjit", dynamic=True)
    with torch.inference_mode(), torch.profiler.profile() as profile:
        check(compiled, plain, *text(9))
    assert profile.key_averages()


def test_streams_that_meet(made: list[Chain]) -> None:
    """As in blocks that change patches and words together: an operation of each before each."""

    class Streams(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.ModuleList(nn.Linear(WIDTH, 2 * WIDTH) for _ in range(2))
            self.layers = nn.ModuleList(Layer() for _ in range(2))

        def stream(self, number: int, x: Tensor, time: Tensor) -> Tensor:
            shift, scale = self.scale[number](F.silu(time)).chunk(2, dim=-1)
            x = x * (1 + scale[:, None]) + shift[:, None]
            result: Tensor = self.layers[number](x, torch.zeros(1))
            return result

        def forward(self, x: Tensor, y: Tensor, time: Tensor) -> Tensor:
            return torch.cat([self.stream(0, x, time), self.stream(1, y, time)], dim=1)

    plain = Streams().eval()
    compiled = torch.compile(plain, backend="snipjit", dynamic=True)
    with torch.inference_mode():
        for x, y in ((31, 7), (5, 64), (31, 7)):
            check(compiled, plain, torch.randn(2, x, WIDTH), torch.randn(2, y, WIDTH),
                  torch.randn(2, WIDTH))  # fmt: skip
    assert len(made) == 1


class Joint(nn.Module):
    """Two streams with attention over both, as in blocks of SD3 (heads first) and Flux."""

    def __init__(self, heads_first: bool) -> None:
        super().__init__()
        self.heads_first = heads_first
        self.ins = nn.ModuleList(nn.Linear(WIDTH, WIDTH) for _ in range(6))
        self.outs = nn.ModuleList(nn.Linear(WIDTH, WIDTH) for _ in range(2))

    def heads(self, x: Tensor) -> Tensor:
        x = x.view(*x.shape[:-1], HEADS, WIDTH // HEADS)
        return x.transpose(1, 2) if self.heads_first else x

    def forward(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        dim = 2 if self.heads_first else 1
        of = [self.heads(layer(x if i < 3 else y)) for i, layer in enumerate(self.ins)]
        q, k, v = (torch.cat([of[i], of[i + 3]], dim) for i in range(3))
        if not self.heads_first:
            q, k, v = (z.transpose(1, 2) for z in (q, k, v))
        mixed = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        first, second = mixed[:, : x.shape[1]], mixed[:, x.shape[1] :]
        return x + self.outs[0](first), y + self.outs[1](second)


@pytest.mark.parametrize("heads_first", [True, pytest.param(False, marks=pytest.mark.long)])
@pytest.mark.parametrize("weights", ["in_place", LONG_PREPARED])
def test_results_are_written_where_they_are_put_together(
    made: list[Chain], heads_first: bool, weights: str
) -> None:
    torch.manual_seed(0)
    plain = Joint(heads_first).eval()
    compiled = torch.compile(plain, backend="snipjit", dynamic=True, options={"weights": weights})
    snipjit.reset_stats()
    sizes = ((31, 7), (5, 64), (31, 7), (2, 2), (300, 33))
    with torch.inference_mode():
        for x, y in sizes:
            check(compiled, plain, torch.randn(1, x, WIDTH), torch.randn(1, y, WIDTH))
        assert snipjit.stats().kernel_calls == 5 * len(sizes)
        (chain,) = made  # none was made for what is not in one
        assert len(chain.script.members) == 5
        assert len(chain.script.cats) == 6
        assert BY_MEMBERS not in chain._plans.recent.values()
        for x, y in ((1, 9), (9, 1), (9, 0), (1, 1)):
            check(compiled, plain, torch.randn(1, x, WIDTH), torch.randn(1, y, WIDTH))
        for x, y in ((31, 7), (5, 64), (1, 9)):  # rows of a batch do not follow one another there
            check(compiled, plain, torch.randn(3, x, WIDTH), torch.randn(3, y, WIDTH))


@pytest.mark.long
def test_a_single_block_puts_features_together(made: list[Chain]) -> None:
    class Single(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two = nn.Linear(WIDTH, WIDTH + 5), nn.Linear(WIDTH, 2 * WIDTH - 3)
            self.out = nn.Linear(3 * WIDTH + 2, WIDTH)

        def forward(self, x: Tensor) -> Tensor:
            parts = [self.one(x), F.gelu(self.two(x), approximate="tanh")]
            result: Tensor = self.out(torch.cat(parts, dim=-1))
            return result

    plain = Single().eval()
    compiled = torch.compile(plain, backend="snipjit", dynamic=True)
    with torch.inference_mode():
        for batch, length in ((1, 31), (2, 7), (3, 64), (1, 200), (2, 31)):
            check(compiled, plain, torch.randn(batch, length, WIDTH))
    for chain in made:
        assert len(chain.script.cats) == 2
        assert BY_MEMBERS not in chain._plans.recent.values()


def test_dumps_show_it(made: list[Chain], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SNIPJIT_DUMP", str(tmp_path))
    plain = model(1)
    compiled = torch.compile(plain, backend="snipjit", dynamic=True)
    with torch.inference_mode():
        check(compiled, plain, *text(9))
    (file,) = tmp_path.glob("chain_*/00_chain.txt")
    lines = file.read_text().splitlines()
    assert lines[0].startswith("chain of 7 launches")
    assert sum(" = kernel_" in line for line in lines) == 7
    assert any("colour 0" in line for line in lines)
