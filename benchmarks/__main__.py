"""``python -m benchmarks models | attention | candidates | dynamic | linear | against | demo |
first-call``."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import torch
from rich.console import Console

from benchmarks import (
    against,
    attention,
    candidates,
    demo,
    dynamic,
    first_call,
    linear,
    linear_int8,
    linear_llama,
    linear_shapes,
)
from benchmarks.models import peers as model_peers
from benchmarks.models import run as models
from benchmarks.models import table as model_table
from benchmarks.models.case import Family
from benchmarks.peers.table import PEERS
from benchmarks.precisions import PRECISIONS
from benchmarks.rounds import Plan
from benchmarks.rows import ROWS
from benchmarks.structures import GRAPHS
from snipjit.frontend.option_types import positive_int


def main(argv: list[str] | None = None) -> int:
    """Run a benchmark and return the exit status."""
    options = _parser().parse_args(argv)
    torch.set_num_threads(options.threads)
    console = Console()
    if not console.is_terminal:
        console = Console(width=160)  # a file has no width of its own
    report = _report(options, console)
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
        console.print(f"wrote {options.json}")
    return 0


def _report(options: argparse.Namespace, console: Console) -> dict[str, object]:
    plan = Plan(rounds=options.rounds)
    if options.benchmark == "demo":
        return demo.run(options.texts, options.layers, console)
    if options.benchmark == "first-call":
        return first_call.run(options.layers, options.repeats, options.small, console)
    if options.benchmark == "against":
        return against.run(options.commit, options.rows, options.dtype, plan, console)
    with torch.inference_mode():
        if options.benchmark == "models":
            families = model_table.select(options.models)
            return _models_report(families, options, console)
        if options.benchmark == "attention":
            precision = PRECISIONS[options.dtype]
            return attention.run(options.rows, precision, options.peers, plan, console)
        if options.benchmark == "candidates":
            return candidates.run(options.structures, options.rows, plan, console)
        if options.benchmark == "linear":
            return _linear_report(options, plan, console)
        return dynamic.run(options.calls, plan, console)


def _models_report(
    families: list[Family], options: argparse.Namespace, console: Console
) -> dict[str, object]:
    precision = PRECISIONS[options.dtype]
    peers, rounds, plot = options.peers, options.rounds, options.plot
    return models.run(families, peers, rounds, console, plot, precision, options.memory)


def _linear_report(options: argparse.Namespace, plan: Plan, console: Console) -> dict[str, object]:
    if options.shapes:
        return linear_shapes.run(options.shapes, options.seed, plan, console)
    if options.llama:
        return linear_llama.run(plan, console)
    if options.dtype == linear_int8.INT8:
        rows = linear_int8.ROWS if options.rows is linear.ROWS else options.rows
        return linear_int8.run(rows, plan, console)
    precision = PRECISIONS[options.dtype]
    return linear.run(options.rows, options.peers, plan, console, options.plot, precision)


def _parser() -> argparse.ArgumentParser:
    common = _common()
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    commands = parser.add_subparsers(dest="benchmark", required=True)
    drawn = _common(Path("out/models.json"))
    _add_models(commands.add_parser("models", parents=[drawn], help=models.__doc__))
    rows = commands.add_parser("attention", parents=[common], help=attention.__doc__)
    _add_choice(rows, "--rows", [row.name for row in ROWS], metavar="ROW")
    _add_choice(rows, "--peers", list(PEERS), metavar="PEER")
    rows.add_argument("--dtype", choices=list(PRECISIONS), default="f32", help="f32 is the default")
    before = commands.add_parser("against", parents=[common], help=against.__doc__)
    before.add_argument("commit", metavar="COMMIT")
    _add_choice(before, "--rows", [row.name for row in ROWS], metavar="ROW")
    before.add_argument("--dtype", choices=list(PRECISIONS), default="f32")
    side = commands.add_parser("candidates", parents=[common], help=candidates.__doc__)
    _add_choice(side, "--structures", list(GRAPHS), metavar="NAME")
    numbers = " ".join(map(str, candidates.ROWS))
    side.add_argument(
        "--rows", nargs="+", type=positive_int, default=candidates.ROWS, metavar="N", help=numbers
    )
    calls = commands.add_parser("dynamic", parents=[common], help=dynamic.__doc__)
    calls.add_argument("--calls", type=positive_int, default=200, metavar="N")
    _add_linear(commands.add_parser("linear", parents=[common], help=linear.__doc__))
    texts = commands.add_parser("demo", parents=[common], help=demo.__doc__)
    texts.add_argument("--texts", type=positive_int, default=200, metavar="N")
    texts.add_argument(
        "--layers", type=positive_int, default=12, metavar="N", help="12 as in BERT-base"
    )
    first = commands.add_parser("first-call", parents=[common], help=first_call.__doc__)
    counts = first_call.LAYERS
    first.add_argument("--layers", nargs="+", type=positive_int, default=counts, metavar="N")
    first.add_argument("--repeats", type=positive_int, default=3, metavar="N", help="processes")
    first.add_argument("--small", action="store_true", help="of a narrow model")
    return parser


def _common(json: Path | None = None) -> argparse.ArgumentParser:
    """The options of every benchmark; where its numbers are written if nothing else is said."""
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--threads", type=positive_int, default=2, metavar="N")
    common.add_argument(
        "--rounds", type=positive_int, default=15, metavar="N", help="undisturbed rounds"
    )
    text = "write the numbers there, too"
    common.add_argument("--json", type=Path, metavar="FILE", default=json, help=text)
    return common


def _add_models(whole: argparse.ArgumentParser) -> None:
    """What names several cases is left out of the default: it takes all."""
    _add_choice(whole, "--models", model_table.names(), metavar="MODEL")
    _add_choice(whole, "--peers", list(model_peers.PEERS), metavar="PEER")
    whole.add_argument("--dtype", choices=list(PRECISIONS), default="f32", help="of the models")
    text = "also the memory of each, in processes of their own"
    whole.add_argument("--memory", action="store_true", help=text)
    whole.add_argument("--plot", type=Path, metavar="PNG", default=Path("out/models.png"))


def _add_linear(layers: argparse.ArgumentParser) -> None:
    numbers = f"{' '.join(map(str, linear.ROWS))}; also 1024 or 4096"
    layers.add_argument(
        "--rows", nargs="+", type=positive_int, default=linear.ROWS, metavar="M", help=numbers
    )
    dtypes = [*PRECISIONS, linear_int8.INT8]
    text = "of the rows; int8: of the weights alone, the matrices of Llama"
    layers.add_argument("--dtype", choices=dtypes, default="f32", help=text)
    _add_choice(layers, "--peers", [linear.INDUCTOR, linear.OPENVINO], metavar="PEER")
    layers.add_argument(
        "--plot", type=Path, metavar="PNG", help="draw time over the floor by rows (extra demo)"
    )
    instead = layers.add_mutually_exclusive_group()
    instead.add_argument(
        "--shapes", nargs="?", type=positive_int, const=200, metavar="N", help="N random shapes"
    )
    instead.add_argument("--llama", action="store_true", help="a decoded token of Llama")
    layers.add_argument("--seed", type=int, default=0, metavar="S", help="of the random shapes")


def _add_choice(
    parser: argparse.ArgumentParser, option: str, names: list[str], metavar: str
) -> None:
    """An option that takes some of the names; all are the default."""
    text = f"some of: {' '.join(names)}"
    parser.add_argument(option, nargs="+", choices=names, default=names, metavar=metavar, help=text)


if __name__ == "__main__":
    sys.exit(main())
