"""The ``snipjit`` command: run and explain exported programs, and say what the host can do.

Exit status: 0, 1 where ``--compare`` finds other results than eager PyTorch's, 2 for an error of
the user (a missing or damaged file, a bad option, inputs that do not fit), told in one line.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

import snipjit
from snipjit.cli.compare import (
    Call,
    Fresh,
    error_between,
    interleaved_medians,
    tensors,
    usual_tolerance,
)
from snipjit.cli.host import cache, info
from snipjit.cli.lines import guarded, print_line
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
from snipjit.version import __version__

_UNFIT = (RuntimeError, IndexError, TypeError, ValueError)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    options = _parser().parse_args(argv)
    command: Callable[[argparse.Namespace], int] = options.command

    def run() -> int:
        with torch.inference_mode():
            return command(options)

    return guarded(run)


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
        "cache", help="show or empty the kernels kept on disk", description=cache.__doc__
    )
    kept.add_argument("--clear", action="store_true", help="delete them")
    kept.set_defaults(command=cache)
    about = commands.add_parser(
        "info", help="the host, the target and the versions", description=info.__doc__
    )
    about.set_defaults(command=info)
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
    snipjit.reset_stats()
    program = snipjit.compile(exported, options=chosen)
    inputs = Fresh(_inputs(exported, options))
    outputs = _first_call(program, inputs)
    _print_run(exported, inputs.given, outputs)
    ours: Call = lambda: inputs.call(program)  # noqa: E731
    if not options.compare:
        (seconds,) = interleaved_medians([ours], options.repeat)
        print_line("time", _timing(seconds, options.repeat))
        return 0
    return _compare(exported, ours, outputs, inputs, options)


def _inputs(exported: torch.export.ExportedProgram, options: argparse.Namespace) -> Inputs:
    """The inputs of the given file, or random ones."""
    if options.inputs is None:
        try:
            return random_inputs(exported, _once("--size", options.size), options.seed)
        except RuntimeError as error:  # torch finds no memory
            raise InputError(f"no random inputs of such sizes: {_first_line(error)}") from error
    if options.size:
        raise InputError("--size is for random inputs: the file of --inputs has sizes of its own")
    return bind(exported, *load_inputs(options.inputs))


def _first_call(program: Call, inputs: Fresh) -> Any:
    """Call the program once; PyTorch's own complaints about the inputs become InputErrors."""
    try:
        return inputs.call(program)
    except SnipjitError:
        raise
    except _UNFIT as error:
        message = f"the model does not take these inputs: {_first_line(error)}"
        raise InputError(message) from error


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def _compare(
    exported: torch.export.ExportedProgram,
    ours: Call,
    outputs: Any,
    inputs: Fresh,
    options: argparse.Namespace,
) -> int:
    """Print error and speed against eager PyTorch; 1 where the error is above the tolerance.

    ``outputs`` are those of the first call: a program may keep what it was called with.
    """
    module = exported.module()
    eager: Call = lambda: inputs.call(module)  # noqa: E731
    absolute, relative = error_between(outputs, eager())
    tolerance = options.tolerance or usual_tolerance(outputs)
    our_time, eager_time = interleaved_medians([ours, eager], options.repeat)
    print_line("snipjit", _timing(our_time, options.repeat))
    print_line("eager", f"{_timing(eager_time, options.repeat)}; ratio {eager_time / our_time:.2f}")
    print_line("error", f"{absolute:.1e} at most, {relative:.1e} of the output's range")
    if relative <= tolerance:
        return 0
    print(f"snipjit: the results differ by more than {tolerance:g}", file=sys.stderr)
    return 1


def _print_run(exported: torch.export.ExportedProgram, inputs: Inputs, outputs: Any) -> None:
    """Print the sizes, what was compiled, and what came out."""
    stats = snipjit.stats()
    print_line("inputs", _describe(inputs))
    for names, allowed in dynamic_sizes(exported).items():
        print_line("dynamic", f"{names} in {allowed}")
    made = f"{stats.kernels_compiled} kernels compiled, {stats.kernels_loaded} from disk"
    found = ", ".join(f"{count} {name}" for name, count in stats.patterns.items()) or "0"
    print_line("fused", f"{found} subgraph(s), {made}")
    for refusal in stats.refusals:
        print_line("refused", str(refusal))
    print_line("outputs", _describe(outputs))


def _describe(value: Any) -> str:
    """The tensors in a value: ``float32[1, 31, 768]``."""
    return ", ".join(f"{str(t.dtype)[6:]}{list(t.shape)}" for t in tensors(value)) or "none"


def _timing(seconds: float, repeat: int) -> str:
    threads = torch.get_num_threads()
    return f"{seconds * 1e3:.3f} ms (median of {repeat} calls, {threads} threads)"


def _explain(options: argparse.Namespace) -> int:
    """Print what becomes kernels in an exported program, what does not, and why."""
    chosen = _chosen(options)
    report = snipjit.explain(load_pt2(options.model), options=chosen)
    print(report.details() if options.detail else report)
    return 0


def _chosen(options: argparse.Namespace) -> dict[str, Any]:
    """The options of compilation. OptionError if there are none such."""
    chosen = _once("--option", options.option)
    Options.of(chosen)  # before a large file is read
    return chosen


def _once(flag: str, pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """Values by name. OptionError for a name that has two."""
    found: dict[str, Any] = {}
    for name, value in pairs:
        if found.setdefault(name, value) != value:
            raise OptionError(f"{flag} {name} is given twice")
    return found
