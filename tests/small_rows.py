"""The target rows with small tiles, panels and blocks: quick to compile, and short calls take
every loop and every tail. Only single rows go by columns: other sizes share one kernel."""

from __future__ import annotations

from dataclasses import replace

from tests.kernels import TARGETS

SMALL = {
    name: replace(row, tile=(4, 1), task_vectors=2, block=8, column_block=8, unroll=2, few_rows=1)
    for name, row in TARGETS.items()
}
