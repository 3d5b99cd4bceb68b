"""Tests of ``snipjit/runtime/call_path.py``."""

from __future__ import annotations

import ast

from snipjit.runtime.call_path import source
from snipjit.runtime.launcher import Launcher
from tests.runtime.workers import interface, scale_add_interface, scale_add_structure, spec


def test_the_text_is_what_runs() -> None:
    launcher = Launcher(scale_add_structure())
    assert launcher.source == source(scale_add_interface(), scratch=True)
    assert "def call(t0, t1, s0,):" in launcher.source


def test_scratch_and_scalars_only_where_there_are_any() -> None:
    plain = source(interface("n", [spec("x", "n")], [spec("o", "n")]), scratch=False)
    assert "take_scratch" not in plain
    assert "floats[" not in plain
    assert "take_scratch" in source(scale_add_interface(), scratch=True)


def test_several_outputs_make_a_tuple() -> None:
    text = source(interface("n", [spec("x", "n")], [spec("o", "n"), spec("p", "n")]), scratch=False)
    ast.parse(text)
    assert "return (r0, r1,)" in text
