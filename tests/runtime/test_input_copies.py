from __future__ import annotations

from snipjit.ir.axis_sizes import TensorSpec
from snipjit.ir.parts import Parts
from snipjit.runtime.input_copies import InputCopy, dense_copies

SIZES = {"b": 2, "m": 12, "m.0": 3, "m.1": 4, "n": 10, "n.0": 5, "n.1": 2}
PARTS = Parts(
    (("b",), ("m.0",), ("m.1",), ("n.0",)), (("m", ("m.0", "m.1")), ("n", ("n.0", "n.1")))
)
ROWS = TensorSpec("h", "f32", (("b",), (), ("m",), ("n",)), (0, 1, 2, 3), parts=PARTS)


def copy(shape: tuple[int, ...], strides: tuple[int, ...]) -> InputCopy | None:
    return dense_copies([ROWS], SIZES, [shape], [strides]).get(0)


def test_dims_of_one_axis_are_read_in_place_if_one_follows_the_other() -> None:
    assert copy((2, 3, 4, 5), (60, 20, 5, 1)) is None


def test_others_are_copied() -> None:
    # Neighbours along an index are read at once.
    assert copy((2, 3, 4, 5), (12, 4, 1, 24)) == InputCopy((2, 3, 4, 5), (12, 4, 1, 24))
    assert copy((2, 3, 4, 5), (60, 5, 15, 1)) == InputCopy((2, 3, 4, 5), (60, 5, 15, 1))
    assert copy((2, 3, 4, 5), (64, 32, 5, 1)) == InputCopy((2, 3, 4, 5), (64, 32, 5, 1))


def test_dims_that_repeat() -> None:
    assert copy((2, 1, 1, 5), (5, 5, 5, 1)) is None
    assert copy((1, 3, 1, 5), (15, 5, 5, 1)) == InputCopy((1, 3, 4, 5), (0, 5, 0, 1))
    assert copy((2, 3, 4, 5), (0, 0, 5, 1)) == InputCopy((1, 3, 4, 5), (0, 0, 5, 1))
