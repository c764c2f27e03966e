"""A digest is the same wherever it is made, however its records were buffered, and changes with every record."""

from __future__ import annotations

import hashlib

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from core.digest import FLUSH_BYTES, StreamDigest, digest_of
from tests.core.records import submit

records = st.lists(st.tuples(st.text(max_size=5), st.integers(-(2**63), 2**63 - 1), st.none() | st.booleans()), max_size=20)


def test_the_digest_of_known_records_is_known() -> None:
    """Made once and written down: another machine, Python or library that disagrees must be seen."""
    assert digest_of([]) == "cae66941d9efbd404e4d88758ea67670"  # BLAKE2b-128 of nothing
    assert digest_of([("cash", 1), ("position", "AAPL.XNAS", -5, None)]) == "75d4796852a3aa3e0edb253ec037c0f6"
    assert digest_of([submit()]) == "c07b564cf8c0df61a45fca35dd53af76"


@given(one=records, other=records)
def test_equal_records_and_only_they_give_equal_digests(one: list[tuple[object, ...]], other: list[tuple[object, ...]]) -> None:
    assert (digest_of(list(one)) == digest_of(list(other))) is (repr(one) == repr(other))


@given(records=records)
def test_asking_for_the_digest_does_not_change_it(records: list[tuple[object, ...]]) -> None:
    asked = StreamDigest()
    for record in records:
        asked.add(record)
        asked.hexdigest()
    assert asked.hexdigest() == asked.hexdigest() == digest_of(list(records))
    assert asked.count == len(records)


def test_the_buffer_is_bounded_and_no_part_of_the_answer() -> None:
    digest, plain = StreamDigest(), hashlib.blake2b(digest_size=16)
    for number in range(30_000):
        digest.add((number, "x" * (number % 7)))
        plain.update(msgspec.msgpack.encode((number, "x" * (number % 7))))
        assert len(digest._buffer) <= FLUSH_BYTES
    assert digest.hexdigest() == plain.hexdigest()
