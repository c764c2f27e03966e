"""`audit show`: the records of a journal, or one order's whole life, as lines for a trader or as JSON."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from core.errors import ConfigError
from core.identifiers import COUNTER_BITS, COUNTER_MAX
from core.instruments import Instrument
from core.units import NS_PER_MS, NS_PER_SECOND, NS_PER_US
from daemon.audit.order_life import Moment, OrderLife
from daemon.audit.record_text import describe, fields_of, kind_of, market_text, order_name, time_of
from daemon.journal.format import Record
from daemon.journal.reader import JournalReader
from daemon.timestamps import iso

KINDS = tuple(sorted(str(kind.__struct_config__.tag) for kind in get_args(Record)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which records: those from `ts_from` until before `ts_to` (ns UTC), of these kinds; empty: of any."""

    ts_from: int | None = None
    ts_to: int | None = None
    kinds: frozenset[str] = frozenset()

    def has(self, record: Record) -> bool:
        if self.kinds and kind_of(record) not in self.kinds:
            return False
        ts = time_of(record)
        return (self.ts_from is None or ts >= self.ts_from) and (self.ts_to is None or ts < self.ts_to)


def parse_kinds(text: str) -> frozenset[str]:
    """`submit,filled` as a set. Raises ConfigError that names the closest kind."""
    kinds = [word.strip() for word in text.split(",") if word.strip()]
    for kind in kinds:
        if kind not in KINDS:
            close = difflib.get_close_matches(kind, KINDS, 1, 0.5)
            hint = f"; did you mean {close[0]}?" if close else ""
            raise ConfigError(f"--kind: there are no records of kind {kind!r}{hint} Known: {', '.join(KINDS)}")
    return frozenset(kinds)


def parse_order(text: str, order_run_number: int) -> int:
    """An order as people name it: 17 (the counter), 1-17, prefix-1-17, or the whole integer. Raises ConfigError."""
    parts = text.split("-")[-2:]
    if not all(part.isascii() and part.isdigit() and len(part) < 20 for part in parts):
        raise ConfigError(f"--order {text}: is no order; write its number (17), run and number (1-17), or its client_order_id")
    run_number, counter = (int(parts[0]), int(parts[1])) if len(parts) == 2 else (order_run_number, int(parts[0]))
    if len(parts) == 1 and counter > COUNTER_MAX:
        return counter
    return run_number << COUNTER_BITS | counter


def order_lines(path: Path, order: str, selection: Selection, *, as_json: bool) -> Iterator[str]:
    """One order's life. Raises ConfigError where the journal never speaks of it, JournalDamage behind what could be read."""
    with JournalReader(path, must_end=False) as reader:
        client_order_id = parse_order(order, reader.header.order_run_number)
        life = OrderLife(client_order_id, _instruments(reader))
        ts_before: int | None = None
        for moment in life.moments(iter(reader)):
            ts = time_of(moment.record)
            if selection.has(moment.record):
                if as_json:
                    yield json.dumps(_order_json(moment, life.instrument))
                else:
                    if ts_before is None:
                        yield f"order {order_name(client_order_id)} ({client_order_id}) of run {reader.header.run_id}"
                    yield _order_line(moment, life.instrument, None if ts_before is None else ts - ts_before)
                ts_before = ts
        if ts_before is None:
            where = " in this selection" if selection != Selection() else ""
            raise ConfigError(f"--order {order}: the journal does not speak of order {order_name(client_order_id)}{where}")


def record_lines(path: Path, selection: Selection, *, as_json: bool) -> Iterator[str]:
    """Every record selected. Raises JournalDamage behind what could be read."""
    with JournalReader(path, must_end=False) as reader:
        instruments = _instruments(reader)
        of_order: dict[int, Instrument | None] = {}
        for number, record in enumerate(reader, 1):
            instrument_id = getattr(record, "instrument_id", None)
            client_order_id = getattr(record, "client_order_id", None) or None  # 0: of no order of ours
            instrument = instruments.get(instrument_id) if instrument_id is not None else of_order.get(client_order_id or 0)
            if instrument is not None and client_order_id is not None:
                of_order[client_order_id] = instrument
            if not selection.has(record):
                continue
            text = describe(record, instrument)
            if as_json:
                yield json.dumps(_json(number, record, text))
            else:
                who = order_name(client_order_id) if client_order_id is not None else instrument_id or ""
                yield f"{number:>9}  {iso(time_of(record))}  {kind_of(record):<15} {who:<14} {text}"


def _instruments(reader: JournalReader) -> dict[str, Instrument]:
    return {instrument.instrument_id: instrument for instrument in reader.header.instruments}


def _json(number: int, record: Record, text: str) -> dict[str, Any]:
    return {
        "record": number,
        "time": iso(time_of(record)),
        "kind": kind_of(record),
        "text": text,
        "fields": fields_of(record),
    }


def _order_json(moment: Moment, instrument: Instrument | None) -> dict[str, Any]:
    plain = _json(moment.number, moment.record, describe(moment.record, instrument))
    quote = fields_of(moment.quote) if moment.quote is not None else None
    return {**plain, "status": moment.status, "market": quote, "problem": moment.problem}


def _order_line(moment: Moment, instrument: Instrument | None, since_ns: int | None) -> str:
    record = moment.record
    since = "" if since_ns is None else f"+{_short(since_ns)}"
    text = describe(record, instrument)
    strategy = getattr(record, "strategy_id", "")
    if strategy and instrument is not None:
        text = f"{text}  [{strategy} on {instrument.instrument_id}]"
    market = market_text(moment.quote, instrument) if instrument is not None else ""
    if market:
        text = f"{text}  ({market})"
    if moment.problem:
        text = f"{text}  !! {moment.problem}"
    return f"{moment.number:>9}  {iso(time_of(record))} {since:>9}  {moment.status:<17} {text}"


def _short(ns: int) -> str:
    """A duration in three or four digits."""
    for unit, size in (("s", NS_PER_SECOND), ("ms", NS_PER_MS), ("us", NS_PER_US)):
        if ns >= size:
            return f"{ns // size}.{ns % size * 10 // size}{unit}" if ns < 1_000 * size else f"{ns // size}{unit}"
    return f"{ns}ns"
