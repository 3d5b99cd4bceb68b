from __future__ import annotations

import pytest

pytest.importorskip("transformers")
pytest.importorskip("diffusers")

from tests.supported import PAGE, page


def test_page_is_current() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert text == page(), "run python -m tests.supported, review the diff"
