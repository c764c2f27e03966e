"""The journal's format: tags and fields of every record in a file one can read. Fields are appended, never moved or renamed."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest

from core.commands import AnyCommand, CancelAll, CancelOrder, ReplaceOrder, SubmitOrder
from core.enums import OrderType, Reason, SelfTradePrevention, Side, TimeInForce
from core.events import AnyEvent, Book, OrderDenied, Started
from tests.core.records import submit

ROOT = Path(__file__).resolve().parents[2]
GOLDEN = Path(__file__).parent / "golden" / "record_format.txt"
EVENTS: tuple[Any, ...] = get_args(AnyEvent)
COMMANDS: tuple[Any, ...] = get_args(AnyCommand)


def format_text() -> str:
    """One line a record: its tag, then its fields in the order they are written; an optional one ends in '?'."""
    lines = []
    for title, kinds in (("events", EVENTS), ("commands", COMMANDS)):
        lines.append(title)
        for kind in kinds:
            fields = [field.encode_name + ("" if field.required else "?") for field in msgspec.structs.fields(kind)]
            lines.append(f"  {kind.__struct_config__.tag}: {' '.join(fields)}")
    return "\n".join(lines) + "\n"


def test_the_format_is_the_one_in_the_golden_file() -> None:
    assert format_text() == GOLDEN.read_text(encoding="utf-8")


def test_records_are_frozen_arrays_with_tags_of_their_own() -> None:
    kinds = (*EVENTS, *COMMANDS)
    assert all(kind.__struct_config__.frozen and kind.__struct_config__.array_like for kind in kinds)
    assert len({kind.__struct_config__.tag for kind in kinds}) == len(kinds)


def test_a_record_written_before_a_field_was_appended_is_still_read() -> None:
    old = msgspec.msgpack.encode(["replace", 5, 1, 10, 9_990])
    assert msgspec.msgpack.decode(old, type=AnyCommand) == ReplaceOrder(5, 1, 10, 9_990)


@pytest.mark.parametrize(
    "record",
    [
        submit(),
        submit(order_type=OrderType.STOP, price=None, trigger_price=5, time_in_force=TimeInForce.GTD, expire_ts=9),
        CancelOrder(1, 2),
        CancelAll(1, None),
        ReplaceOrder(1, 2, 3, 4, 5),
        Started(0, 0, "r"),
        Book(1, 2, "A.B", ((1, 2),), ()),
        OrderDenied(1, 2, 3, "s", "A.B", "order_qty_max", -(2**63), 2**63 - 1),
    ],
)
def test_records_read_back_equal(record: Any) -> None:
    codec = AnyCommand if type(record) in COMMANDS else AnyEvent
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(record), type=codec) == record
    with pytest.raises(AttributeError):
        record.ts = 7


@pytest.mark.parametrize("damage", [["submit"], ["submit", "now"], ["nobody", 1], ["cancel", 1, 2.5], ["cancel", 1, None], {}])
def test_a_damaged_record_is_refused(damage: Any) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.msgpack.decode(msgspec.msgpack.encode(damage), type=AnyCommand)


def test_a_side_that_does_not_exist_is_refused() -> None:
    fields = list(msgspec.to_builtins(submit()))
    fields[fields.index(int(Side.BUY), 5)] = 7
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(fields, type=SubmitOrder)


@pytest.mark.parametrize(
    ("enumeration", "prefix"),
    [(Side, "SIDE"), (OrderType, "TYPE"), (TimeInForce, "TIF"), (SelfTradePrevention, "STP"), (Reason, "REASON")],
)
def test_numbers_shared_with_the_native_book_agree(enumeration: Any, prefix: str) -> None:
    header = (ROOT / "native" / "book_api.h").read_text(encoding="utf-8")
    native = {name: int(value) for name, value in re.findall(rf"#define BOOK_{prefix}_(\w+) (\d+)", header)}
    ours = {member.name: int(member) for member in enumeration}
    assert native
    assert native == {name: value for name, value in ours.items() if name in native}
    assert set(ours) - set(native) <= {"NOT_SENT", "KILLED", "LATE"}


if __name__ == "__main__":  # python -m tests.core.test_record_format: writes the golden file anew; read its diff first
    GOLDEN.write_text(format_text(), encoding="utf-8")
