"""The ``snipjit`` command: run and explain exported programs, and say what the host can do.

Exit status: 0, 1 where ``--compare`` finds other results than eager PyTorch's, 2 for an error of
the user (a missing or damaged file, a bad option, inputs that do not fit), told in one line.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

import snipjit
from snipjit.cli.compare import Call, error_between, interleaved_medians, tensors, usual_tolerance
from snipjit.cli.random_inputs import Inputs, random_inputs
from snipjit.errors import InputError, OptionError, SnipjitError
from snipjit.frontend.files import load_inputs, load_pt2
from snipjit.frontend.option_types import (
    Parser,
    module,
    option,
    positive_float,
    positive_int,
    seed,
    size,
    threads,
)
from snipjit.frontend.options import Options
from snipjit.frontend.signature import bind
from snipjit.frontend.size_names import dynamic_sizes
from snipjit.runtime.disk_cache import disk_cache
from snipjit.runtime.engine import host_features
from snipjit.runtime.host import may_execute
from snipjit.target import target_machine
from snipjit.version import __version__

_UNFIT = (RuntimeError, IndexError, TypeError, ValueError)

KNOBS = ("SNIPJIT_CACHE", "SNIPJIT_DUMP", "SNIPJIT_TARGET", "SNIPJIT_VERIFY")
"""The environment variables snipjit reads; CONTRIBUTING.md says what they do."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    options = _parser().parse_args(argv)
    command: Callable[[argparse.Namespace], int] = options.command
    try:
        with torch.inference_mode():
            status = command(options)
        sys.stdout.flush()
        return status
    except SnipjitError as error:
        print(f"snipjit: error: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # the reader, such as head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _parser() -> Parser:
    parser = Parser(
        prog="snipjit",
        description="Attention and linear layers as fused, shape-agnostic kernels for the CPU.",
    )
    parser.add_argument("--version", action="version", version=f"snipjit {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_run(commands.add_parser("run", help="run an exported program", description=_run.__doc__))
    explain = commands.add_parser(
        "explain", help="what is compiled and what is not, and why", description=_explain.__doc__
    )
    _add_model(explain)
    explain.add_argument(
        "--detail", action="store_true", help="every subgraph with its nodes and its IR"
    )
    explain.set_defaults(command=_explain)
    kept = commands.add_parser(
        "cache", help="show or empty the kernels kept on disk", description=_cache.__doc__
    )
    kept.add_argument("--clear", action="store_true", help="delete them")
    kept.set_defaults(command=_cache)
    info = commands.add_parser(
        "info", help="the host, the target and the versions", description=_info.__doc__
    )
    info.set_defaults(command=_info)
    return parser


def _add_model(parser: Parser) -> None:
    parser.add_argument("model", metavar="MODEL.pt2", type=Path, help="saved by torch.export.save")
    parser.add_argument(
        "--import",
        metavar="MODULE",
        type=module,
        action="append",
        help="a module that registers what the model takes or returns; of transformers and "
        "diffusers the usual ones are known",
    )
    parser.add_argument(
        "--option",
        metavar="NAME=VALUE",
        type=option,
        action="append",
        default=[],
        help="an option of compilation, as torch.compile takes it: rest=inductor, or "
        "fuse=attention,linear",
    )


def _add_run(parser: Parser) -> None:
    _add_model(parser)
    add = parser.add_argument
    add(
        "--inputs",
        metavar="FILE.pt",
        type=Path,
        help="saved by torch.save: a tuple of positional, or a dict of keyword arguments",
    )
    add("--compare", action="store_true", help="also run eager PyTorch: error and speed")
    add(
        "--tolerance",
        type=positive_float,
        metavar="X",
        help="largest error, relative to the output's range, that --compare accepts (0.001, of "
        "float16 0.01, of bfloat16 0.05)",
    )
    add("--threads", type=threads, metavar="N", help="threads, PyTorch's own ones included")
    add("--repeat", type=positive_int, default=20, metavar="N", help="timed calls (20)")
    add("--seed", type=seed, default=0, metavar="N", help="of the random inputs (0)")
    add(
        "--size",
        type=size,
        action="append",
        default=[],
        metavar="NAME=INT",
        help="size of a dynamic dimension: a symbol (s27=31) or input.dim (input_ids.1=31)",
    )
    parser.set_defaults(command=_run)


def _run(options: argparse.Namespace) -> int:
    """Compile an exported program and run it on random or given inputs."""
    if options.threads:
        torch.set_num_threads(options.threads)
    chosen = _chosen(options)
    exported = load_pt2(options.model)
    args, kwargs = _inputs(exported, options)
    snipjit.reset_stats()
    program = snipjit.compile(exported, options=chosen)
    outputs = _first_call(program, args, kwargs)
    _print_run(exported, (args, kwargs), outputs)
    ours: Call = lambda: program(*args, **kwargs)  # noqa: E731
    if not options.compare:
        (seconds,) = interleaved_medians([ours], options.repeat)
        _print("time", _timing(seconds, options.repeat))
        return 0
    return _compare(exported, ours, (args, kwargs), options)


def _inputs(exported: torch.export.ExportedProgram, options: argparse.Namespace) -> Inputs:
    """The inputs of the given file, or random ones."""
    if options.inputs is None:
        try:
            return random_inputs(exported, dict(options.size), options.seed)
        except RuntimeError as error:  # torch finds no memory
            raise InputError(f"no random inputs of such sizes: {_first_line(error)}") from error
    if options.size:
        raise InputError("--size is for random inputs: the file of --inputs has sizes of its own")
    return bind(exported, *load_inputs(options.inputs))


def _first_call(program: Call, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Call the program once; PyTorch's own complaints about the inputs become InputErrors."""
    try:
        return program(*args, **kwargs)
    except SnipjitError:
        raise
    except _UNFIT as error:
        message = f"the model does not take these inputs: {_first_line(error)}"
        raise InputError(message) from error


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def _compare(
    exported: torch.export.ExportedProgram, ours: Call, inputs: Inputs, options: argparse.Namespace
) -> int:
    """Print error and speed against eager PyTorch; 1 where the error is above the tolerance."""
    args, kwargs = inputs
    module = exported.module()
    eager: Call = lambda: module(*args, **kwargs)  # noqa: E731
    outputs = ours()
    absolute, relative = error_between(outputs, eager())
    tolerance = options.tolerance or usual_tolerance(outputs)
    our_time, eager_time = interleaved_medians([ours, eager], options.repeat)
    _print("snipjit", _timing(our_time, options.repeat))
    _print("eager", f"{_timing(eager_time, options.repeat)}; ratio {eager_time / our_time:.2f}")
    _print("error", f"{absolute:.1e} at most, {relative:.1e} of the output's range")
    if relative <= tolerance:
        return 0
    print(f"snipjit: the results differ by more than {tolerance:g}", file=sys.stderr)
    return 1


def _print_run(exported: torch.export.ExportedProgram, inputs: Inputs, outputs: Any) -> None:
    """Print the sizes, what was compiled, and what came out."""
    stats = snipjit.stats()
    _print("inputs", _describe(inputs))
    for names, allowed in dynamic_sizes(exported).items():
        _print("dynamic", f"{names} in {allowed}")
    made = f"{stats.kernels_compiled} kernels compiled, {stats.kernels_loaded} from disk"
    found = ", ".join(f"{count} {name}" for name, count in stats.patterns.items()) or "0"
    _print("fused", f"{found} subgraph(s), {made}")
    for refusal in stats.refusals:
        _print("refused", str(refusal))
    _print("outputs", _describe(outputs))


def _describe(value: Any) -> str:
    """The tensors in a value: ``float32[1, 31, 768]``."""
    return ", ".join(f"{str(t.dtype)[6:]}{list(t.shape)}" for t in tensors(value)) or "none"


def _timing(seconds: float, repeat: int) -> str:
    threads = torch.get_num_threads()
    return f"{seconds * 1e3:.3f} ms (median of {repeat} calls, {threads} threads)"


def _print(title: str, text: str) -> None:
    print(f"{title:10}{text}")


def _explain(options: argparse.Namespace) -> int:
    """Print what becomes kernels in an exported program, what does not, and why."""
    chosen = _chosen(options)
    report = snipjit.explain(load_pt2(options.model), options=chosen)
    print(report.details() if options.detail else report)
    return 0


def _chosen(options: argparse.Namespace) -> dict[str, Any]:
    """The options of compilation. OptionError if there are none such."""
    chosen: dict[str, Any] = {}
    for name, value in options.option:
        if chosen.setdefault(name, value) != value:
            raise OptionError(f"--option {name} is given twice")
    Options.of(chosen)  # before a large file is read
    return chosen


def _cache(options: argparse.Namespace) -> int:
    """Show where kernels are kept between processes and how many there are, or delete them."""
    disk = disk_cache()
    if disk is None:
        _print("cache", "off: SNIPJIT_CACHE=0, or dumps are on")
        return 0
    stayed: list[OSError] = []
    if options.clear:
        deleted, stayed = disk.clear()
        _print("deleted", f"{deleted} files")
    _print("cache", str(disk.directory))
    _print("kept", f"{len(disk.entries())} files, {disk.bytes() / 2**20:.1f} MiB")
    if (problem := disk.problem()) is not None:
        _print("problem", f"nothing more is kept: {problem}")
    if stayed:
        raise InputError(f"cannot delete: {'; '.join(map(str, stayed))}")
    return 0


def _info(options: argparse.Namespace) -> int:
    """Print what snipjit knows of this machine and of itself."""
    features = host_features()
    usable = [row.name for row in target_machine.rows_for(features)]
    packages = ("torch", "llvmlite", "numpy", "networkx")
    _print("snipjit", f"{__version__}, Python {platform.python_version()}")
    _print("packages", ", ".join(f"{name} {version(name)}" for name in packages))
    _print("host", f"{platform.system()} {platform.machine()}, {os.cpu_count()} CPUs")
    _print("threads", str(torch.get_num_threads()))
    _print(
        "target", f"{target_machine.select(features).name} (this host runs: {', '.join(usable)})"
    )
    for row in target_machine.TARGETS:
        missing = [name for name in row.features if name not in features]
        needs = f"needs {' '.join(row.features) or 'nothing'}"
        _print("", f"{row.name}: {needs}{'; missing ' + ' '.join(missing) if missing else ''}")
    _print("features", " ".join(sorted(features)))
    if not may_execute():
        _print("memory", "may not become executable: every model runs without kernels")
    for knob in KNOBS:
        if knob in os.environ:
            _print("set", f"{knob}={os.environ[knob]}")
    return 0
