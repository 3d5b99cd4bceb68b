"""What users get wrong: the result of eager PyTorch, or one clear error, and never a crash."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch._dynamo.exc import BackendCompilerFailed
from torch.autograd import forward_ad

import snipjit
from snipjit import compiler
from snipjit.cli import commands as cli
from snipjit.errors import InputError
from snipjit.runtime.kernel_cache import KERNELS, STRUCTURES, KernelCache
from snipjit.runtime.launcher import Launcher
from tests.exported_models import tiny_attention
from tests.runtime.workers import scale_add_structure

Tensors = tuple[torch.Tensor, ...]


pytestmark = pytest.mark.usefixtures("fresh")


def attention(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    return torch.softmax(q @ k.transpose(-1, -2) * 0.25, dim=-1) @ v


def compiled(function: Any, **more: Any) -> Callable[..., Any]:
    result: Callable[..., Any] = torch.compile(function, backend="snipjit", dynamic=True, **more)
    return result


def same_as_eager(run: Callable[..., Any], *tensors: torch.Tensor) -> None:
    torch.testing.assert_close(run(*tensors), attention(*tensors), equal_nan=True)


def heads(*shape: int) -> Tensors:
    return tuple(torch.randn(3, *shape))


# Tensors that a kernel cannot take go to eager, with the reason


def test_other_dtypes_stay() -> None:
    same_as_eager(compiled(attention), *(t.double() for t in heads(2, 9, 8)))
    (refusal,) = snipjit.stats().refusals
    assert "is float64; accepted: float32" in refusal.reason


@pytest.mark.parametrize("place", [0, 1, 2])
def test_views_with_other_signs_stay(place: int) -> None:
    """The memory of such a view holds the numbers with the sign turned."""
    run, tensors = compiled(attention), list(heads(2, 9, 8))
    same_as_eager(run, *tensors)
    tensors[place] = torch._neg_view(tensors[place])
    same_as_eager(run, *tensors)
    (refusal,) = snipjit.stats().refusals
    assert "accepted: its resolve_neg()" in refusal.reason


def test_another_device_stays() -> None:
    result = compiled(attention)(*(t.to("meta") for t in heads(2, 9, 8)))
    assert result.is_meta
    assert "on meta; accepted: strided float32" in snipjit.stats().refusals[0].reason


@pytest.mark.parametrize("shape", [(0, 9, 8), (2, 0, 8), (2, 9, 0)])
def test_zero_sizes(shape: tuple[int, ...]) -> None:
    same_as_eager(compiled(attention), *heads(*shape))
    assert "is empty; accepted: sizes from 1" in snipjit.stats().refusals[0].reason


@pytest.mark.parametrize("size", [1, 3, 1000])
def test_odd_head_dimensions(size: int) -> None:
    run, tensors = compiled(attention), heads(2, 9, size)
    exact = attention(*(tensor.double() for tensor in tensors))  # eager itself is off by 1e-5
    torch.testing.assert_close(run(*tensors), exact.float())


def test_ranks_change_between_calls() -> None:
    run = compiled(attention)
    for shape in ((2, 3, 9, 8), (9, 8), (2, 2, 3, 9, 8), (2, 3, 5, 8)):
        same_as_eager(run, *heads(*shape))


def test_odd_strides() -> None:
    run, memory = compiled(attention), torch.randn(1 << 16)
    for strides in ((5, 3, 2, 1), (0, 0, 0, 0), (1 << 14, 1 << 12, 1 << 8, 3)):
        view = memory.as_strided((2, 3, 9, 8), strides, 1)
        same_as_eager(run, view, view, view)
    misaligned = torch.zeros(433 * 4, dtype=torch.uint8)[1:1729].clone()
    view = torch.frombuffer(bytearray(misaligned.numpy().tobytes()), dtype=torch.float32)
    same_as_eager(run, *(view.view(2, 3, 9, 8),) * 3)


def test_inputs_change_in_place() -> None:
    run, tensors = compiled(attention), heads(2, 9, 8)
    before = run(*tensors)
    kept = before.clone()
    tensors[0].mul_(2)
    same_as_eager(run, *tensors)
    tensors[1].resize_(2, 20, 8).normal_()
    tensors[2].resize_(2, 20, 8).normal_()
    same_as_eager(run, *tensors)
    assert torch.equal(before, kept)


def test_other_kinds_of_tensors() -> None:
    class Named(torch.Tensor):
        pass

    run = compiled(attention)
    same_as_eager(run, *(t.as_subclass(Named) for t in heads(2, 9, 8)))
    sparse = torch.randn(9, 8).to_sparse()
    same_as_eager(run, sparse, torch.randn(9, 8), torch.randn(9, 8))
    ragged = torch.nested.nested_tensor(list(heads(3, 8)), layout=torch.jagged)
    parts = ragged.unsqueeze(1)
    for got, want in zip(
        compiled(F.scaled_dot_product_attention)(parts, parts, parts).unbind(),
        F.scaled_dot_product_attention(parts, parts, parts).unbind(),
        strict=True,
    ):
        torch.testing.assert_close(got, want)


# Models and processes


def test_a_model_that_raises() -> None:
    def picky(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        if q.shape[-2] > 5:
            raise ValueError("at most five rows")
        return attention(q, k, v)

    run = compiled(picky)
    with pytest.raises(ValueError, match="at most five rows"):
        run(*heads(2, 9, 8))
    same_as_eager(run, *heads(2, 4, 8))


def test_graph_breaks() -> None:
    def broken(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        scores = q @ k.transpose(-1, -2) * 0.25
        torch._dynamo.graph_break()
        return torch.softmax(scores, dim=-1) @ v

    same_as_eager(compiled(broken), *heads(2, 9, 8))
    assert "no score product above" in snipjit.stats().refusals[0].reason


def test_two_threads_compile_at_once() -> None:
    KERNELS.clear()
    STRUCTURES.clear()
    run, errors = compiled(attention), list[BaseException]()

    def work(rows: int) -> None:
        try:
            same_as_eager(run, *heads(2, rows, 8))
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(rows,)) for rows in (5, 9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors


def test_an_interrupted_compilation_is_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    def capped(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        return torch.softmax(torch.tanh(q @ k.transpose(-1, -2)), dim=-1) @ v

    def interrupted(*args: Any, **named: Any) -> Any:
        monkeypatch.setattr(compiler, "lower", lower)
        raise KeyboardInterrupt  # as Python's handler of SIGINT does, which a test may replace

    run, tensors, lower = compiled(capped), heads(2, 9, 8), compiler.lower
    monkeypatch.setattr(compiler, "lower", interrupted)
    for cache in ("KERNELS", "STRUCTURES"):  # another test may have compiled the same structure
        monkeypatch.setattr(compiler, cache, KernelCache())
    with pytest.raises(KeyboardInterrupt):
        run(*tensors)
    torch.testing.assert_close(run(*tensors), capped(*tensors))


# Options and the environment


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["rest"], "is no dict; accepted"),
        ("eager", "is no dict; accepted"),
        ({1: 2}, "unknown option 1; accepted: rest"),
        ({"rest": ["eager"]}, "is not one of 'eager', 'inductor'"),
        ({"rest": None}, "is not one of 'eager', 'inductor'"),
    ],
)
def test_options_of_a_wrong_kind(options: Any, message: str) -> None:
    with pytest.raises(snipjit.OptionError, match=message):
        snipjit.compile(attention, heads(2, 9, 8), options=options)


@pytest.mark.parametrize(
    ("knob", "value", "message"),
    [
        ("SNIPJIT_TARGET", "mips", "target 'mips' does not exist or does not run here"),
        ("SNIPJIT_DUMP", "/dev/null/below", "SNIPJIT_DUMP: cannot write below it"),
    ],
)
def test_knobs(knob: str, value: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(knob, value)
    with pytest.raises(BackendCompilerFailed, match=message) as failure:
        compiled(attention)(*heads(2, 9, 8))
    assert isinstance(failure.value.inner_exception, snipjit.OptionError)


# Programs and launchers


@pytest.mark.parametrize(
    ("args", "kwargs", "message"),
    [
        ((), None, "the example arguments do not fit the model: missing a required argument"),
        ((1, 2, 3, 4), None, "do not fit the model: too many positional arguments"),
        ((1, 2, 3), {"w": 1}, "do not fit the model: got an unexpected keyword argument 'w'"),
        (torch.zeros(3), None, "args must be a tuple"),
        ((1, 2, 3), ["w"], "kwargs a dict"),
    ],
)
def test_examples_that_do_not_fit(args: Any, kwargs: Any, message: str) -> None:
    with pytest.raises(snipjit.InputError, match=message):
        snipjit.compile(attention, args, kwargs)


@pytest.mark.parametrize("thing", [None, 3, b"model.pt2"])
def test_things_that_are_no_models(thing: Any) -> None:
    with pytest.raises(snipjit.InputError, match="cannot compile a"):
        snipjit.compile(thing)
    with pytest.raises(snipjit.InputError, match="cannot explain a"):
        snipjit.explain(thing)
    with pytest.raises(snipjit.InputError, match="cannot compile a type"):
        snipjit.compile(torch.nn.Linear, (torch.zeros(2),))


def test_program_inputs() -> None:
    tensors = heads(2, 9, 8)
    program = snipjit.compile(attention, tensors)
    others = {
        "torch.sparse_coo": tensors[0].to_sparse(),
        "torch._mkldnn": tensors[0].to_mkldnn(),
        "nested": torch.nested.nested_tensor([torch.randn(9, 8)] * 2),
        "torch.qint8 of rank 3": torch.quantize_per_tensor(tensors[0], 0.1, 0, torch.qint8),
    }
    for message, tensor in others.items():
        with pytest.raises(snipjit.InputError, match=f"input 'q' is {message}"):
            program(tensor, *tensors[1:])
    same_as_eager(program, *(torch._neg_view(t) for t in tensors))


def test_launcher_arguments() -> None:
    launcher, x = Launcher(scale_add_structure()), torch.randn(2, 3, 4)
    wrong = [
        (x.to_sparse(), 0.5, "'x' is torch.sparse_coo: pass a strided tensor"),
        (torch.nested.nested_tensor([x, x]), 0.5, "'x' is nested: pass a strided tensor"),
        (torch._neg_view(x), 0.5, r"pass its resolve_neg\(\)"),
        (torch._efficientzerotensor(2, 3, 4), 0.5, r"'x' is a Tensor without memory: clone\(\)"),
        (x, torch.zeros(1, device="meta"), "pass floats or tensors of one element"),
        (x, 1j, "pass floats or tensors of one element"),
    ]
    for tensor, scalar, message in wrong:
        with pytest.raises(snipjit.InputError, match=message):
            launcher(tensor, x, scalar)


# The command line


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pt2") / "tiny.pt2"
    torch.export.save(tiny_attention(), path)
    return path


def error_of(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The one line that a command ends with, with status 2."""
    try:
        status = cli.main(arguments)
    except SystemExit as exit:
        status = int(str(exit.code))
    captured = capsys.readouterr()
    assert (status, captured.out, captured.err.count("\n")) == (2, "", 1)
    return captured.err


@pytest.mark.parametrize("command", ["run", "explain"])
def test_files_that_are_no_programs(
    command: str, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "model.pt2"
    for content in (b"", b"hello\n", model.read_bytes()[:5000]):
        path.write_bytes(content)
        assert "not a file that torch.export.save wrote" in error_of(capsys, command, str(path))
    torch.save({"weight": torch.zeros(1)}, path)
    assert "a zip archive, but not one that torch.export" in error_of(capsys, command, str(path))
    assert "is not a file" in error_of(capsys, command, str(tmp_path))


@pytest.mark.parametrize(
    ("saved", "message"),
    [
        ({1: torch.zeros(1), 2: torch.zeros(1)}, "it was given 1, 2"),
        (3, "holds a int, not a tuple or a dict"),
        ({"ids": torch.nn.Linear(1, 1)}, "holds more than tensors, numbers"),
    ],
    ids=["numbers as names", "a number", "a module"],
)
def test_saved_inputs(
    saved: object, message: str, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "inputs.pt"
    torch.save(saved, path)
    assert message in error_of(capsys, "run", str(model), "--inputs", str(path))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--threads", "99999999999"], "'99999999999' is more than 1024"),
        (["--seed", "9" * 23], "is not an integer of 64 bits"),
        (["--seed", "x"], "'x' is not an integer of 64 bits"),
        (["--size", "ids.1=3", "--size", "mask.1=4"], "size mask.1=4 is also given as 3"),
    ],
)
def test_numbers_out_of_range(
    arguments: list[str], message: str, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert message in error_of(capsys, "run", str(model), *arguments)


def test_a_reader_that_stops(model: Path) -> None:
    reader = subprocess.Popen(
        [sys.executable, "-m", "snipjit", "explain", str(model)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert reader.stdout is not None
    reader.stdout.close()
    assert reader.stderr is not None
    assert "Traceback" not in reader.stderr.read()
    assert reader.wait() == 0


def test_tangents_are_refused() -> None:
    make_dual: Any = forward_ad.make_dual  # torch gives it no type
    q, k, v = torch.randn(3, 1, 2, 7, 8)
    run = compiled(attention)
    with torch.no_grad():
        run(q, k, v)
    with forward_ad.dual_level():
        same_as_eager(run, q, k, v)
        with pytest.raises(InputError, match="'p0' has a tangent"):
            run(make_dual(q, q), k, v)
    same_as_eager(run, q, k, v)
