"""The log against the slowest thing that could be right: whatever comes in whatever order, each transaction once, in order."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from adapters.oanda.log import TransactionLog
from adapters.oanda.wire import Transaction
from core.errors import VenueProtocolError

BEGIN, END = 10, 40


def transaction(number: int) -> Transaction:
    return Transaction(id=str(number), time="", type="X")


# What happens: a line with one of the numbers, an answer with a few, a heartbeat, or the question is answered.
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("line"), st.integers(BEGIN - 3, END)),
        st.tuples(st.just("answer"), st.integers(BEGIN - 3, END)),
        st.tuples(st.just("heartbeat"), st.integers(BEGIN, END)),
        st.tuples(st.just("question"), st.integers(BEGIN, END)),
    ),
    max_size=60,
)


@given(STEPS, st.integers(1, 7))
def test_each_once_and_in_order(steps: list[tuple[str, int]], page: int) -> None:
    log = TransactionLog()
    log.begin(BEGIN)
    given_out: list[int] = []
    exists = BEGIN  # transactions up to here have happened
    for kind, number in steps:
        exists = max(exists, number)
        due: list[Transaction] = []
        if kind == "line":
            due = log.offer([transaction(number)])
        elif kind == "answer":
            due = log.offer([transaction(each) for each in range(max(number - 2, 1), number + 1)])
        elif kind == "heartbeat":
            log.heard(number)
        else:
            since = log.last
            found = range(since + 1, min(since + page, exists) + 1)
            due = log.complete(since, [transaction(each) for each in found], exists)
        given_out += [each.number for each in due]
        assert given_out == list(range(BEGIN + 1, BEGIN + 1 + len(given_out)))
        assert log.last == BEGIN + len(given_out)
    # Asked until nothing is missing, nothing is.
    while log.is_behind:
        since = log.last
        found = range(since + 1, min(since + page, exists) + 1)
        given_out += [each.number for each in log.complete(since, [transaction(each) for each in found], exists)]
    assert given_out == list(range(BEGIN + 1, log.known_last + 1))


def test_numbers_that_are_left_out_for_good_are_passed_by_the_question() -> None:
    log = TransactionLog()
    log.begin(4)
    assert log.offer([transaction(7)]) == []
    assert [each.number for each in log.complete(4, [transaction(5), transaction(7)], 7)] == [5, 7]
    assert not log.is_behind


def test_an_answer_that_hides_what_it_speaks_of_is_refused() -> None:
    log = TransactionLog()
    log.begin(4)
    try:
        log.complete(4, [], 6)
    except VenueProtocolError:
        assert log.last == 4
    else:
        raise AssertionError("an answer without what it speaks of was believed")
