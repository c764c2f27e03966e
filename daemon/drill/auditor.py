"""Judges a drill by what anybody can read: the venues' ledgers, the journals, what the processes said.

It shares no code with either. Each finding names the oracle that does not hold and the numbers. An order that the venue made by
itself (manual, forced) is none of ours: its fills are foreign, and only positions must add up with them.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from functools import partial
from pathlib import Path
from typing import Any

from core.commands import SubmitOrder
from core.errors import TradingdError
from core.events import CashMoved, OrderFilled
from core.identifiers import format_order_id, parse_order_id
from core.instruments import Instrument
from core.order_store import FOREIGN_ORDER_ID
from core.orders import TERMINAL
from core.trader_state import TraderState
from daemon.config.loader import LoadedConfig
from daemon.journal.format import JOURNAL_FOLDER
from daemon.journal.reader import segments_of
from daemon.journal.tail import TailReader
from daemon.trading.recovery import recover
from daemon.trading.state_folder import StateFolder
from daemon.trading.venue_opening import prefix_of
from daemon.trading.wiring import build_bare_trader

READ_BYTES_MAX = 1 << 26  # of one file that is looked through for secrets
SHOWN_MAX = 3
ROUNDING_PER_FILL = 2  # 10^-8: what a fill closes and what it gains are rounded each


class Oracle(Enum):
    LEDGER = "the venue's ledger equals ours"
    ONE_ORDER = "at most one venue order for each intent"
    ONCE = "each execution is booked once"
    INTENT = "nothing on the wire without a durable intent"
    LIMITS = "exposure never above a limit"
    KILL = "nothing after a kill"
    CHAIN = "the audit chain verifies"
    SECRETS = "no secret in any output"
    ALIVE = "no task silently dead"
    ALERT = "the alert is out within 5 s"


@dataclass(frozen=True, slots=True)
class Breach:
    oracle: Oracle
    text: str


# The order's id, side, quantity, price. Venues and adapters name executions each in their own way: what they were is the same.
Execution = tuple[str, str, int, int]
# Money that no fill explains: instrument or "", currency, amount in 10^-8.
Movement = tuple[str, str, int]


@dataclass(slots=True)
class Books:
    """What our journals say over all runs: ids of orders sent, executions by order and own id, and the state they end in.

    `moves`: money that no fill explains, by venue and name.
    """

    sent: Counter[str] = field(default_factory=Counter)
    filled: dict[tuple[str, str], Execution] = field(default_factory=dict)
    state: TraderState | None = None
    problems: list[str] = field(default_factory=list)
    moves: dict[tuple[str, str], Movement] = field(default_factory=dict)


def read_books(loaded: LoadedConfig, account_folder: Path) -> Books:
    """Raises nothing: what cannot be read is a problem."""
    books = Books()
    prefixes = {each.venue: each.order_id_prefix or prefix_of(loaded.config.run.name) for each in loaded.config.connections}
    try:
        for run in sorted((account_folder / "runs").iterdir()):
            journal = run / JOURNAL_FOLDER
            if journal.is_dir() and segments_of(journal):
                _read_run(journal, prefixes, books)
        state_folder = StateFolder(account_folder)
        try:
            recovered = recover(state_folder, partial(build_bare_trader, loaded))
            books.state = recovered.state
            books.problems += recovered.problems
        finally:
            state_folder.release()
    except (TradingdError, OSError) as error:
        books.problems.append(f"{type(error).__name__}: {error}")
    return books


def _read_run(journal: Path, prefixes: Mapping[str, str], books: Books) -> None:
    for record in TailReader(journal):
        match record:
            case SubmitOrder():
                books.sent[_text(record.client_order_id, record.instrument_id, prefixes)] += 1
            case OrderFilled() if record.client_order_id != FOREIGN_ORDER_ID:
                name = _text(record.client_order_id, record.instrument_id, prefixes)
                # The Trader takes one that comes again for what it is: here it counts once too.
                books.filled[name, record.execution_id] = name, record.side.name, record.qty, record.price
            case CashMoved():
                books.moves[record.venue, record.movement_id] = record.instrument_id, record.currency, record.amount
            case _:
                continue


def _text(client_order_id: int, instrument_id: str, prefixes: Mapping[str, str]) -> str:
    return format_order_id(client_order_id, prefixes[instrument_id.rpartition(".")[2]])


# The ledgers against our books.


def judge_books(
    books: Books, ledgers: Mapping[str, dict[str, Any]], accounts: Mapping[str, str], prefixes: Mapping[str, str]
) -> list[Breach]:
    """Everything by venue."""
    found = [Breach(Oracle.LEDGER, f"our own books cannot be read: {text}") for text in books.problems]
    there: Counter[Execution] = Counter()
    taken_back: Counter[Execution] = Counter()
    for venue, ledger in ledgers.items():
        account = accounts[venue]
        orders = {each["venue_order_id"]: each for each in ledger["orders"] if each["account"] == account}
        found += _judge_orders(books, orders.values(), prefixes[venue])
        for fill in fills_of(ledger, account, prefixes[venue])[0]:
            executions = taken_back if fill["is_busted"] else there
            executions[fill["client_order_id"], fill["side"], fill["qty"], fill["price"]] += 1
    here = Counter(books.filled.values())
    # What the venue has taken back may have been booked before, and need not have been.
    lost, invented = sorted((there - here).elements()), sorted((here - there - taken_back).elements())
    if lost:
        found.append(Breach(Oracle.LEDGER, f"{len(lost)} fills of the venue are not in our journal: {lost[:SHOWN_MAX]}"))
    if invented:
        found.append(Breach(Oracle.LEDGER, f"{len(invented)} fills in our journal are not the venue's: {invented[:SHOWN_MAX]}"))
    return found


def fills_of(ledger: Mapping[str, Any], account: str, prefix: str) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The account's fills: of our orders, and those that no order of ours explains: others', and what exceeds one of ours."""
    left = {
        each["venue_order_id"]: each["qty"] for each in ledger["orders"] if each["account"] == account and is_ours(each, prefix)
    }
    mine: list[dict[str, Any]] = []
    others: list[dict[str, Any]] = []
    for fill in ledger["fills"]:
        if fill["account"] != account:
            continue
        name = fill["venue_order_id"]
        if name not in left or (not fill["is_busted"] and fill["qty"] > left[name]):
            others.append(fill)
            continue
        mine.append(fill)
        left[name] -= 0 if fill["is_busted"] else fill["qty"]
    return mine, others


def is_ours(order: Mapping[str, Any], prefix: str) -> bool:
    """Sent by the daemon: under an id of its own, and not made by the venue."""
    return order["origin"] == "client" and parse_order_id(order["client_order_id"], prefix) is not None


def _judge_orders(books: Books, orders: Iterable[Mapping[str, Any]], prefix: str) -> list[Breach]:
    found: list[Breach] = []
    # A stop that was triggered, an order that was replaced: it goes on as a second one, and is one intent.
    mine = [each for each in orders if is_ours(each, prefix) and not each.get("triggered_by")]
    twice = sorted(name for name, count in Counter(each["client_order_id"] for each in mine).items() if count > 1)
    if twice:
        found.append(Breach(Oracle.ONE_ORDER, f"{len(twice)} intents have several orders there: {twice[:SHOWN_MAX]}"))
    sent_twice = sorted(name for name, count in books.sent.items() if count > 1)
    if sent_twice:
        found.append(Breach(Oracle.ONE_ORDER, f"{len(sent_twice)} ids were sent twice: {sent_twice[:SHOWN_MAX]}"))
    unknown = sorted({each["client_order_id"] for each in mine} - set(books.sent))
    if unknown:
        found.append(Breach(Oracle.INTENT, f"{len(unknown)} orders there are in no journal: {unknown[:SHOWN_MAX]}"))
    nameless = [
        each["venue_order_id"]
        for each in orders
        if each["origin"] == "client" and not each["reduce_only"] and parse_order_id(each["client_order_id"], prefix) is None
    ]
    if nameless:
        found.append(Breach(Oracle.INTENT, f"orders without an id of ours, and not reduce-only: {nameless[:SHOWN_MAX]}"))
    return found


def judge_state(
    books: Books,
    ledgers: Mapping[str, dict[str, Any]],
    accounts: Mapping[str, str],
    instruments: Sequence[Instrument],
    cash: Mapping[str, int],
    foreign: Mapping[str, int],
    reporting: Collection[str] = (),
    *,
    is_cash_theirs: bool = False,
) -> list[Breach]:
    """Positions, cash and what is open, as the next start would begin with them. `cash`: what the account began with.

    `reporting`: venues whose ledger has all the money that moves without a fill ("cash"), and whose adapter says all of it.
    `foreign`: units by instrument that no fill of ours brought: counted here where they were adopted, else exactly what is
    missing. `is_cash_theirs`: fills of others, or that were taken back, have moved cash: what they cost is the venue's to say.
    """
    state = books.state
    if state is None:
        return [Breach(Oracle.LEDGER, "there is no state to go on from")]
    found: list[Breach] = []
    here = {each.instrument_id: each.qty for each in state.positions if not each.strategy_id}
    for venue, ledger in ledgers.items():
        for key, there in ledger["positions"].get(accounts[venue], {}).items():
            own, others = here.get(key, 0), foreign.get(key, 0)
            if there not in (own, own + others):
                text = f"{key}: position {own} here{f' and {others} of others' if others else ''}, {there} there"
                found.append(Breach(Oracle.LEDGER, text))
    still_open = [order.client_order_id for order in state.orders if order.status not in TERMINAL]
    if still_open:
        found.append(Breach(Oracle.LEDGER, f"{len(still_open)} orders are open here after everything was cancelled"))
    moved = {venue: _moves_there(ledgers[venue], accounts[venue], state) for venue in sorted(ledgers.keys() & set(reporting))}
    for venue, there in moved.items():
        ours = Counter(each for (name, _), each in books.moves.items() if name == venue and each[2])
        lost, invented = sorted((there - ours).elements()), sorted((ours - there).elements())
        if lost:
            found.append(Breach(Oracle.LEDGER, f"{len(lost)} movements of money at {venue} are not here: {lost[:SHOWN_MAX]}"))
        if invented:
            found.append(
                Breach(Oracle.ONCE, f"{len(invented)} movements of money here are not {venue}'s: {invented[:SHOWN_MAX]}")
            )
    if is_cash_theirs:
        return found
    return found + _judge_cash(books, state, ledgers, accounts, instruments, cash, moved)


def _moves_there(ledger: Mapping[str, Any], account: str, state: TraderState) -> Counter[Movement]:
    """What the venue has moved since the account began: what was before is in the cash that it began with."""
    return Counter(
        (each["instrument_id"], each["currency"], each["amount"])
        for each in ledger["cash"]
        if each["account"] == account and each["amount"] and each["ts"] >= state.foreign.begun_ts
    )


def _judge_cash(
    books: Books,
    state: TraderState,
    ledgers: Mapping[str, dict[str, Any]],
    accounts: Mapping[str, str],
    instruments: Sequence[Instrument],
    cash: Mapping[str, int],
    moved: Mapping[str, Counter[Movement]],
) -> list[Breach]:
    """Cash and what open positions were opened at, together: which fills closed what depends on their order; this does not."""
    by_key = {each.instrument_id: each for each in instruments}
    there: dict[str, int] = defaultdict(int)
    tolerance: dict[str, int] = defaultdict(int)
    for venue, ledger in ledgers.items():
        for fill in ledger["fills"]:
            instrument = by_key.get(fill["instrument_id"])
            if fill["account"] != accounts[venue] or fill["is_busted"] or instrument is None:
                continue
            signed = fill["qty"] if fill["side"] == "BUY" else -fill["qty"]
            # What is paid for, spot and shares, is cash that left; the rest is worth what it was opened at.
            sign = 1 if instrument.is_inverse else -1
            there[instrument.settlement_currency] += sign * instrument.notional(fill["price"], signed)
            there[fill["fee_currency"]] -= fill["fee"]
            tolerance[instrument.settlement_currency] += ROUNDING_PER_FILL
    for moves in moved.values():
        for (_, currency, amount), count in moves.items():
            there[currency] += amount * count
    here: dict[str, int] = {name: int(text) - cash.get(name, 0) for name, text in state.cash.items()}
    for (venue, _), (_, currency, amount) in books.moves.items():
        if venue not in moved:
            # Nothing there to hold it against: what fills have paid must be equal without it.
            here[currency] = here.get(currency, 0) - amount
    for position in state.positions:
        instrument = by_key[position.instrument_id]
        if not position.strategy_id and not instrument.pays_notional:
            here[instrument.settlement_currency] += (1 if instrument.is_inverse else -1) * int(position.value_open)
    return [
        Breach(Oracle.LEDGER, f"{name}: {here.get(name, 0)} of cash and positions here, {amount} by the venue (10^-8)")
        for name, amount in there.items()
        if abs(here.get(name, 0) - amount) > tolerance[name]
    ]


# What the processes left.


def judge_secrets(folder: Path, secrets: Iterable[str]) -> list[Breach]:
    """Every file that they wrote, journals and recorded frames included."""
    wanted = {value.encode() for value in secrets}
    found = []
    for path in sorted(folder.rglob("*")):
        if not path.is_file() or path.is_symlink():
            continue
        with path.open("rb") as file:
            data = file.read(READ_BYTES_MAX)
        if any(value in data for value in wanted):
            found.append(Breach(Oracle.SECRETS, f"a secret is in {path.relative_to(folder)}"))
    return found
