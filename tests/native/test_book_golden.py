"""Scenario files that one can read, one for each order type, flag and table; both books must give exactly these answers.

To write the answers of a new scenario: BOOK_GOLDEN_WRITE=1 python -m pytest tests/native/test_book_golden.py, then read them.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from native.loader import extension
from native.reference_book import ReferenceBook
from tests.native.book_script import replay

SCENARIOS = sorted((Path(__file__).parent / "book_golden").glob("*.txt"))


@pytest.mark.parametrize("path", SCENARIOS, ids=lambda path: path.stem)
def test_reference_book_answers_as_written(path: Path) -> None:
    answered = replay(path, ReferenceBook)
    if "BOOK_GOLDEN_WRITE" in os.environ:
        path.write_text(answered, encoding="utf-8")
    assert answered == path.read_text(encoding="utf-8")


@pytest.mark.skipif(extension() is None, reason="the C extension is not built")
@pytest.mark.parametrize("path", SCENARIOS, ids=lambda path: path.stem)
def test_native_book_answers_as_written(path: Path) -> None:
    from native.book import NativeBook

    assert replay(path, NativeBook) == path.read_text(encoding="utf-8")
