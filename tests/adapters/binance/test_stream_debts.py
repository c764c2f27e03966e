"""What was taken and is not told in time gives a mute stream away."""

from __future__ import annotations

from adapters.binance.stream_debts import LATE_NS, OWED_MAX, StreamDebts


def test_what_is_told_in_time_is_no_debt() -> None:
    debts = StreamDebts()
    assert not debts.is_overdue(0)
    debts.taken(1, 0)
    debts.taken(2, 1)
    assert not debts.is_overdue(LATE_NS - 1)
    assert debts.is_overdue(LATE_NS)
    debts.told(1)
    debts.told(3)
    assert not debts.is_overdue(LATE_NS)
    assert debts.is_overdue(LATE_NS + 1)
    debts.taken(2, LATE_NS)  # told of twice, it is as old as at first
    assert debts.is_overdue(LATE_NS + 1)
    debts.clear()
    assert not debts.is_overdue(10 * LATE_NS)


def test_there_are_only_so_many() -> None:
    debts = StreamDebts()
    for order_id in range(OWED_MAX + 5):
        debts.taken(order_id, 0)
    for order_id in range(OWED_MAX):
        debts.told(order_id)
    assert not debts.is_overdue(LATE_NS)
