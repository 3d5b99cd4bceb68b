"""The colour of each contestant, the same in every picture, and the names of ours there."""

from __future__ import annotations

COLOURS = {
    "eager": "#9e9e9e",
    "sdpa": "#424242",
    "inductor": "#ef6c00",
    "frozen": "#ffb300",
    "static": "#8d6e63",
    "openvino": "#6a1b9a",
    "onnxruntime": "#0277bd",
    "zentorch": "#ad1457",
    "snipjit": "#00897b",
    "prepared": "#00c853",
    "program": "#76ff03",
    "with inductor": "#00695c",
}

NAMES = {
    "snipjit": "snipjit, weights in place",
    "prepared": "snipjit, weights prepared",
    "program": "snipjit, exported, weights prepared",
    "with inductor": "snipjit, rest by Inductor",
}
