"""Tests of ``snipjit/runtime/kernel.py``."""

from __future__ import annotations

import pickle

from snipjit.runtime.kernel import Kernel
from tests.runtime.workers import scale_add


def test_object_code_and_recipe_are_all_that_a_kernel_needs() -> None:
    kernel = scale_add()
    recipe, code = pickle.loads(pickle.dumps((kernel.recipe, kernel.object_code)))
    again = Kernel.from_object(kernel.key, recipe, code, "kernel")
    assert again.recipe == kernel.recipe
    assert again.address != kernel.address
