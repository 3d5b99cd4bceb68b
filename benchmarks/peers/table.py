"""The table of peers: who is compared with, in the order of the report."""

from __future__ import annotations

from benchmarks.peers import compiled, flex, openvino, sdpa
from benchmarks.peers.base import Build, Inputs
from benchmarks.rows import Row
from benchmarks.sources import Form


def _eager(row: Row, inputs: Inputs) -> Form:
    return row.model.form


PEERS: dict[str, Build] = {
    "eager": _eager,  # the source
    "sdpa": sdpa.build,  # F.scaled_dot_product_attention, written by hand
    "inductor": compiled.build,  # torch.compile of the source
    "flex": flex.build,  # FlexAttention, its modifications and block mask written by hand
    "openvino": openvino.build,  # the source or a form with SDPA, whichever is faster
}
