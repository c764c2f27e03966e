"""Secrets never reach a record, in whatever dress they come."""

from __future__ import annotations

from base64 import b64encode
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.http.record import RECORD_BYTES_MAX, Redactor

SECRET = "s3cr3t/+key="


@pytest.mark.parametrize(
    ("body", "shown"),
    [
        (b"symbol=BTCUSDT&signature=ab12&timestamp=1", b"symbol=BTCUSDT&signature=***&timestamp=1"),
        (b"/ws?listenKey=pqia91ma", b"/ws?listenKey=***"),
        (b'{"listenKey": "pqia\\"91ma","x":1}', b'{"listenKey": "***","x":1}'),
        (b'{"access_token":"a","refresh_token":"b","token":""}', b'{"access_token":"***","refresh_token":"***","token":"***"}'),
        (b"design=1&mysignature=2", b"design=1&mysignature=2"),
        (f"x={SECRET}".encode(), b"x=***"),
        (quote(SECRET, safe="").encode(), b"***"),
        (b64encode(SECRET.encode()), b"***"),
    ],
)
def test_secrets_are_cut_out(body: bytes, shown: bytes) -> None:
    assert Redactor([SECRET]).body(body) == shown


def test_headers_are_judged_by_name_and_by_value() -> None:
    redactor = Redactor([SECRET])
    headers = redactor.headers(
        [("X-MBX-APIKEY", "k"), ("Authorization", "Bearer x"), ("X-Other", f"a {SECRET} b"), ("Date", "now")]
    )
    assert headers == (("X-MBX-APIKEY", "***"), ("Authorization", "***"), ("X-Other", "a *** b"), ("Date", "now"))


@given(st.binary(max_size=200), st.binary(max_size=200))
def test_the_secret_is_gone_whatever_surrounds_it(before: bytes, after: bytes) -> None:
    assert SECRET.encode() not in Redactor([SECRET, SECRET[:8]]).body(before + SECRET.encode() + after)


def test_a_short_word_is_not_taken_for_a_secret() -> None:
    assert Redactor(["BUY", ""]).body(b"side=BUY") == b"side=BUY"


def test_the_limit_of_a_record_is_far_above_an_order() -> None:
    assert RECORD_BYTES_MAX >= 1 << 16


PIECES = st.sampled_from(["a", "token=x", 'token": "', '"', "\n", SECRET, "=", "&", " ", "api_key=", "\\"])


@given(
    st.lists(
        st.tuples(st.sampled_from(["Authorization", "X-Other", "Date"]), st.lists(PIECES, max_size=5).map("".join)), max_size=5
    )
)
def test_headers_together_are_cut_as_each_by_itself(headers: list[tuple[str, str]]) -> None:
    redactor = Redactor([SECRET])
    alone = tuple((name, "***" if name == "Authorization" else redactor.text(value)) for name, value in headers)
    assert redactor.headers(headers) == alone
