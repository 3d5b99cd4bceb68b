"""The same Subgraph gives the same code in every process: sets have no order of their own."""

from __future__ import annotations

import os
import subprocess
import sys

CODE = """
import hashlib
from snipjit.compiler import emit, lower
from snipjit.target.target_machine import PORTABLE
from tests.masked_graphs import Masked
from tests.subgraphs import attention
from snipjit.compiler import optimize

graphs = [Masked("padded window", "add two", "softmax", None).subgraph()]
graphs += [optimize(attention("padding", D=8))]
texts = [emit(lower(graph, PORTABLE), PORTABLE) for graph in graphs]
print(*(hashlib.sha256(text.encode()).hexdigest() for text in texts))
"""


def test_code_depends_on_no_hash() -> None:
    found = set()
    for seed in ("1", "2", "3"):
        done = subprocess.run(
            [sys.executable, "-c", CODE],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "PYTHONHASHSEED": seed},
        )
        found.add(done.stdout)
    assert len(found) == 1
