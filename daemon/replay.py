"""Feeds a journal's events through a fresh Trader and compares what it answers with what was recorded, byte for byte.

The Trader is built from the configuration in the journal itself. Behind each event the journal holds what the Trader made of it:
limits that tripped, denials, commands, each in order (sim/driver.py writes them so). Nothing else of the run is needed: no market
data, no venue, no clock.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import msgspec

from core.approved import Approved
from core.commands import CancelAll, CancelOrder, CancelTimer, ReplaceOrder, SetTimer, SubmitOrder
from core.context import OutCommand
from core.enums import TradingState
from core.errors import ConfigError, StateError, StrategyError
from core.events import AnyEvent, LimitTripped, MemoryRequested, OrderDenied, StateRestored, StrategySaved, TradingStateSet
from core.trader import Trader
from daemon.config.loader import load_effective
from daemon.journal.format import JournalHeader, Record
from daemon.journal.reader import JournalDamage, JournalReader
from daemon.wiring import build_trader

OUTPUTS = (SubmitOrder, CancelOrder, ReplaceOrder, CancelAll, SetTimer, CancelTimer, OrderDenied, LimitTripped, StrategySaved)


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """The first place where the two streams part. `record` counts the journal's records from 1; None is "nothing there"."""

    record: int
    event: str  # the event that was answered
    recorded: str | None
    replayed: str | None


@dataclass(slots=True, kw_only=True)
class Replayed:
    """What a replay found. Digests are those of the replay; of the run where its run.json is at hand, else None."""

    run_id: str
    events: int = 0
    commands: int = 0
    denials: int = 0
    trips: int = 0
    difference: Difference | None = None
    error: str = ""  # what the last event raised, in the run as in the replay
    ending: str = ""  # why the journal stops where it does; empty at a signed end
    damage: str = ""
    commands_digest: str = ""
    state_digest: str = ""
    commands_digest_recorded: str | None = None
    state_digest_recorded: str | None = None

    @property
    def are_digests_equal(self) -> bool:
        pairs = ((self.commands_digest, self.commands_digest_recorded), (self.state_digest, self.state_digest_recorded))
        return all(recorded is None or replayed == recorded for replayed, recorded in pairs)

    @property
    def is_identical(self) -> bool:
        return self.difference is None and not self.damage and self.are_digests_equal

    def as_json(self) -> dict[str, Any]:
        return {"identical": self.is_identical, **asdict(self)}


def replay(journal: Path, run: dict[str, Any] | None) -> Replayed:
    """Replay what is there: to the end, to where the writer died, or to the first damage.

    `run` is the content of run.json, None where there is none. Raises DataError where there is no journal, ConfigError and
    StrategyError where the Trader cannot be built again.
    """
    with JournalReader(journal, must_end=False) as reader:
        result = Replayed(run_id=reader.header.run_id)
        walk = _Walk(_build(reader.header, journal), result)
        headers = 1
        try:
            for number, record in enumerate(reader, 1):
                if isinstance(record, StateRestored) and number > 1:
                    # A writer went on here with a Trader of its own, which began with this state.
                    headers = len(reader.headers)
                    if not walk.begin_again(number, _build(reader.headers[-1][1] if reader.headers else reader.header, journal)):
                        break
                elif len(reader.headers) > max(headers, 1):
                    at = reader.headers[headers][0]
                    result.ending = f"the configuration changed after record {at} and no state follows; the replay stops there"
                    break
                if not walk.take(number, record):
                    break
            else:
                result.ending = _ending(reader)
        except JournalDamage as damage:
            result.damage = str(damage)
        walk.finish(is_whole=reader.is_ended)
    result.commands_digest = walk.trader.commands_digest.hexdigest()
    result.state_digest = walk.trader.state_digest()
    if run is not None and reader.is_ended:
        result.commands_digest_recorded = run.get("commands_digest")
        result.state_digest_recorded = run.get("state_digest")
    return result


def _build(header: JournalHeader, journal: Path) -> Trader:
    trader = build_trader(load_effective(header.config, journal), header.order_run_number)
    if list(trader.instruments.values()) != header.instruments:
        raise ConfigError(f"{journal}: the journal's instruments are not those of its own configuration")
    return trader


def _ending(reader: JournalReader) -> str:
    if reader.is_ended:
        return ""
    if reader.unfinished_bytes:
        return f"the writer died: {reader.unfinished_bytes} bytes of an unfinished frame are left out"
    return "the journal has no end: its writer died, or is still writing"


class _Walk:
    """Steps the Trader and holds its answers against the records that follow."""

    def __init__(self, trader: Trader, result: Replayed) -> None:
        self.trader = trader
        self._result = result
        self._encoder = msgspec.msgpack.Encoder()
        self._answers: Iterator[Record] = iter(())
        self._event: AnyEvent | None = None
        self._number = 0
        self._raised: StrategyError | StateError | None = None  # the first one
        self._has_halted = False  # and after it

    def begin_again(self, number: int, trader: Trader) -> bool:
        """The records from here on are another Trader's. False where the one before would have answered more than is recorded."""
        left = next(self._answers, None)
        if left is not None:
            return self._differ(number, None, left)
        self.trader, self._raised, self._has_halted = trader, None, False
        return True

    def take(self, number: int, record: Record) -> bool:
        """False at the first difference."""
        if isinstance(record, OUTPUTS):
            answer = next(self._answers, None)
            if answer is None or not self._is_same(record, answer):
                return self._differ(number, record, answer)
            if isinstance(record, OrderDenied):
                self._result.denials += 1
            elif isinstance(record, LimitTripped):
                self._result.trips += 1
            elif not isinstance(record, StrategySaved):
                self._result.commands += 1
            return True
        left = next(self._answers, None)
        if left is not None:
            return self._differ(number, None, left)
        if self._raised is not None and not self._goes_on(record):
            return self._differ(number, record, None)
        self._number = number
        self._event = record
        self._result.events += 1
        self._step(record)
        return True

    def _goes_on(self, record: Record) -> bool:
        """A daemon halts after an error and sees its orders out; a backtest ends there."""
        self._has_halted |= isinstance(record, TradingStateSet) and record.state is TradingState.HALTED
        return self._has_halted

    def finish(self, *, is_whole: bool) -> None:
        """Where the journal is whole, nothing of the last answer may be left over; where it was cut short, some may."""
        if self._raised is not None:
            self._result.error = str(self._raised)
        if self._result.difference is None and is_whole:
            left = next(self._answers, None)
            if left is not None:
                self._differ(self._number + 1, None, left)

    def _step(self, event: AnyEvent) -> None:
        try:
            out = self.trader.step(event)
        except (StrategyError, StateError) as error:
            # The run ended here as well, if this is the journal's last event; what the step had decided was withdrawn.
            self._raised = self._raised or error
            self._answers = iter(list(self.trader.tripped))
            return
        saved = self.trader.memory.saved if isinstance(event, MemoryRequested) else ()
        self._answers = iter([*self.trader.tripped, *self.trader.denied, *saved, *_commands(out)])

    def _is_same(self, recorded: Record, replayed: Record) -> bool:
        return self._encoder.encode(recorded) == self._encoder.encode(replayed)

    def _differ(self, number: int, recorded: Record | None, replayed: Record | None) -> bool:
        event = f"{self._number}: {self._event!r}" if self._event is not None else "before the first event"
        if self._raised is not None:
            event = f"{event}, which raised in the replay: {self._raised}"
        self._result.difference = Difference(
            record=number,
            event=event,
            recorded=None if recorded is None else repr(recorded),
            replayed=None if replayed is None else repr(replayed),
        )
        return False


def _commands(out: Sequence[OutCommand]) -> Iterator[Record]:
    for command in out:
        yield command.command if isinstance(command, Approved) else command
