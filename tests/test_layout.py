"""The rules of the code's structure, executable."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from snipjit.ir.schedule import Schedule
from snipjit.passes import graph, linear
from snipjit.passes.base import Pass
from snipjit.passes.graph.prepare_weights import PrepareWeights
from snipjit.passes.graph.specialize_sizes import SpecializeSizes
from snipjit.target.target_machine import TARGETS

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "snipjit"
STAGES = ("fx", "graph", "linear", "llvm")
FILES = sorted(PACKAGE.rglob("*.py"))
PASSES: tuple[Pass, ...] = (
    *graph.PIPELINE,
    SpecializeSizes(),
    PrepareWeights(),
    *dict.fromkeys((*linear.pipeline(TARGETS[0]), *linear.pipeline(TARGETS[0], Schedule.COLUMNS))),
)

LAYERS = (
    *("errors", "config", "version", "refusal", "torch_private"),
    *("ir", "ir.text", "ir.verify", "ir.interpret", "target", "passes.base", "passes", "runtime"),
    *("recipes", "compiler", "ahead", "frontend", "cli", "__main__"),
)
"""Modules and folders, each of which knows only those before it."""

TOKENIZATION = ("nodes", "graph", "modules", "index", "lift", "patterns")
"""The groups of ``passes/fx``, each of which knows only those before it."""

SUBJECT = re.compile(r"attention|quer(y|ies)|\bkeys?\b", re.IGNORECASE)
"""What the stages after data flow must not know of."""


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


def imports_of(path: Path) -> set[str]:
    """Every module a file imports at run time, with what it takes from it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def uses(path: Path, *prefixes: str) -> list[str]:
    return [
        name
        for name in imports_of(path)
        if any(name == prefix or name.startswith(prefix + ".") for prefix in prefixes)
    ]


def test_stage_folders_sort_in_pipeline_order() -> None:
    folders = sorted(p.name for p in (PACKAGE / "passes").iterdir() if (p / "__init__.py").exists())
    assert tuple(folders) == STAGES


@pytest.mark.parametrize("stage", STAGES)
def test_stages_are_strangers(stage: str) -> None:
    others = [f"snipjit.passes.{other}" for other in STAGES if other != stage]
    for path in (PACKAGE / "passes" / stage).rglob("*.py"):
        assert not uses(path, *others, "snipjit.runtime", "snipjit.compiler"), path


@pytest.mark.parametrize("group", TOKENIZATION)
def test_groups_of_tokenization_do_not_reach_ahead(group: str) -> None:
    later = TOKENIZATION[TOKENIZATION.index(group) + 1 :]
    for path in (PACKAGE / "passes" / "fx" / group).glob("*.py"):
        assert not uses(path, *(f"snipjit.passes.fx.{name}" for name in later)), path


def test_groups_of_tokenization_are_all() -> None:
    folders = {path.parent.name for path in (PACKAGE / "passes" / "fx").glob("*/__init__.py")}
    assert folders == set(TOKENIZATION)


def test_importing_registers_nothing() -> None:
    """Shape functions are registered when a model is compiled, not before."""
    code = (
        "import torch, snipjit, snipjit.passes.fx\n"
        "from snipjit.passes.fx.graph.traceable import make_traceable\n"
        "assert make_traceable.cache_info().currsize == 0\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_runtime_knows_no_pass() -> None:
    for path in (PACKAGE / "runtime").glob("*.py"):
        assert not uses(
            path, "snipjit.passes", "snipjit.compiler", "snipjit.frontend.torch_backend"
        ), path


def layer_of(module: str) -> int:
    """The number of the longest name in LAYERS that a module begins with."""
    of = [layer for layer in LAYERS if f"{module}.".startswith(f"snipjit.{layer}.")]
    return LAYERS.index(max(of, key=len, default=LAYERS[0]))


@pytest.mark.parametrize("path", FILES, ids=module_of)
def test_no_import_runs_backwards(path: Path) -> None:
    if path == PACKAGE / "__init__.py":  # public names, taken when they are asked for
        return
    own = layer_of(module_of(path))
    for name in uses(path, "snipjit"):
        assert layer_of(name) <= own, f"{path} imports {name}"


def test_the_irs_know_no_library_but_numpy() -> None:
    for path in (*(PACKAGE / "ir").rglob("*.py"), *(PACKAGE / "target").rglob("*.py")):
        assert not uses(path, "torch", "llvmlite", "networkx"), path


def test_the_listing_is_short() -> None:
    assert len([path for path in PACKAGE.glob("*.py")]) <= 12


@pytest.mark.parametrize(
    ("library", "homes"),
    [
        ("torch", ("torch_private", "passes.fx", "runtime", "frontend", "cli", "compiler")),
        ("llvmlite", ("passes.llvm", "runtime.engine", "cli")),
        ("networkx", ("passes.linear",)),
    ],
)
def test_libraries_stay_at_home(library: str, homes: tuple[str, ...]) -> None:
    for path in FILES:
        if not module_of(path).removeprefix("snipjit.").startswith(homes):
            assert not uses(path, library), path


@pytest.mark.parametrize("step", PASSES, ids=lambda step: step.name)
def test_one_pass_one_file(step: Pass) -> None:
    """The file is named like the pass, and the docstring shows the IR before and after."""
    path = ROOT / Path(*type(step).__module__.split(".")).with_suffix(".py")
    snake = re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", step.name).lower()
    assert path.stem in (snake, snake.replace("ll_vm", "llvm"))
    passes = [
        node.name
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.ClassDef)
        and any(
            isinstance(base, ast.Name) and base.id in ("Pass", "LinearPass") for base in node.bases
        )
    ]
    assert passes == [step.name]
    text = type(step).__doc__ or ""
    assert "Before:" in text
    assert "After:" in text


def test_every_pass_is_in_its_pipeline() -> None:
    for stage in ("graph", "linear"):
        for path in (PACKAGE / "passes" / stage).glob("*.py"):
            classes = re.findall(r"^class (\w+)\((?:Linear)?Pass\)", path.read_text(), re.MULTILINE)
            assert set(classes) <= {"LinearPass", *(step.name for step in PASSES)}, path


def test_every_pass_has_its_test() -> None:
    for step in PASSES:
        stage, stem = type(step).__module__.split(".")[-2:]
        assert (ROOT / "tests" / "passes" / stage / f"test_{stem}.py").exists(), step.name


@pytest.mark.parametrize("stage", ["linear", "llvm"])
def test_later_stages_know_loops_and_not_what_they_are_for(stage: str) -> None:
    for path in (PACKAGE / "passes" / stage).glob("*.py"):
        tree = ast.parse(path.read_text())
        words = [node.id for node in ast.walk(tree) if isinstance(node, ast.Name)]
        words += [node.arg for node in ast.walk(tree) if isinstance(node, ast.arg)]
        words += [node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
        words += [
            n.value
            for n in ast.walk(tree)
            if isinstance(n, ast.Constant) and isinstance(n.value, str)
        ]
        found = [word for word in words if SUBJECT.search(word)]
        assert not found, f"{path}: {found}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: module_of(path))
def test_sizes(path: Path) -> None:
    """A file has at most 300 lines, a function at most 40."""
    text = path.read_text()
    assert text.count("\n") <= 300
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            size = (node.end_lineno or 0) - node.lineno + 1
            assert size <= 40, f"{node.name} has {size} lines"


def test_source_files_say_what_they_are() -> None:
    for path in FILES:
        assert ast.get_docstring(ast.parse(path.read_text())), path


def test_the_code_names_no_path_of_a_machine() -> None:
    for path in FILES:
        assert "/work/" not in path.read_text(), path
