"""Text of others is shown as text: nothing in it moves a cursor, turns a line round or makes a second line."""

from __future__ import annotations

import argparse
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import RefusedError
from daemon.cli.errors import guarded
from daemon.one_line import one_line


@given(st.text())
def test_nothing_that_is_left_controls_anything(text: str) -> None:
    shown = one_line(text)
    assert not [character for character in shown if unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp")]
    assert not set(shown) & set("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
    shown.encode("utf-8")


@given(st.text(st.characters(codec="utf-8", exclude_categories=("C", "Zl", "Zp"))))
def test_plain_text_stays_as_it_is(text: str) -> None:
    assert one_line(text) == text


@given(st.text(), st.integers(1, 50))
def test_it_is_cut_before_it_is_escaped(text: str, longest: int) -> None:
    kept = text if len(text) <= longest else text[: longest - 1] + "…"
    assert one_line(text, longest) == one_line(kept)


def test_what_a_venue_says_in_an_error_does_nothing_to_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    def verb(_options: argparse.Namespace) -> int:
        raise RefusedError("the venue says: \x1b[2Jall is well\nsecond line\r")

    assert guarded(argparse.Namespace(json=False), verb) == 12
    assert capsys.readouterr().err == "tradingd: the venue says: \\x1b[2Jall is well\nsecond line\\r\n"
