"""A ledger file, and what a venue takes from it in its next life: ids, executions, positions, orders that the process ended."""

from __future__ import annotations

import json
import os
import random
from pathlib import Path

import pytest

from core.errors import ConfigError, DataError, StorageError, TransportError
from core.events import OrderFilled
from daemon.config.loader import load_config
from daemon.venue_sim.account import VenueAccount
from daemon.venue_sim.exchange import Exchange
from daemon.venue_sim.ledger import LedgerFile, restore
from daemon.venue_sim.opening import open_venue
from daemon.venue_sim.shell import open_listener
from tests.daemon.session import CONFIG, write_config
from tests.daemon.venue_sim.random_market import INSTRUMENT, RandomMarket
from tests.daemon.venue_sim.test_random_cuts import SETTINGS, World


def lived(folder: Path, seed: int) -> tuple[World, Path]:
    """A venue that was traded at for a while, and its ledger as a file."""
    world = World(folder, seed)
    world.connect()
    for _ in range(120):
        if world.peer is None:
            world.connect()
        try:
            world.turn()
        except TransportError:
            # A login of ours that came while the one before was still there.
            world.cut()
    path = folder / "ledger.jsonl"
    ledger = LedgerFile(path)
    for line in [{"kind": "opened", "ts": 1, "venue": "SIM", "life": 1}, *world.lines]:
        ledger.note(line)
    ledger.close()
    return world, path


@pytest.mark.parametrize("seed", range(5))
def test_the_file_says_what_the_venue_knew(tmp_path: Path, seed: int) -> None:
    world, path = lived(tmp_path, seed)
    found, account = restore(path), world.exchange.account
    assert found.sessions == 1
    assert found.number == world.exchange.number
    assert found.positions.get(INSTRUMENT, 0) == account.positions[INSTRUMENT]
    assert found.open_orders == {order_id: order.leaves_qty for order_id, order in account.open.items()}
    assert [(number, moved.movement_id, moved.kind, moved.amount) for number, moved in found.cash_moves] == [
        (number, moved.movement_id, moved.kind, moved.amount) for number, moved in account.cash_moves
    ]
    stamped = [(number, fill) for number, fill in account.executions]
    assert [(number, _without_stamp(fill)) for number, fill in found.executions] == [
        (number, _without_stamp(fill)) for number, fill in stamped
    ]


def _without_stamp(fill: OrderFilled) -> tuple[object, ...]:
    return (fill.ts_event, fill.client_order_id, fill.execution_id, fill.side, fill.price, fill.qty, fill.leaves_qty)


def test_an_end_that_was_never_finished_is_passed_over_and_cut_off(tmp_path: Path) -> None:
    _, path = lived(tmp_path, 1)
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"kind":"filled","ts":')
    assert restore(path).number > 0
    ledger = LedgerFile(path)
    ledger.note({"kind": "logout", "ts": 2})
    ledger.close()
    assert path.read_bytes() == whole + b'{"kind":"logout","ts":2}\n'


@pytest.mark.parametrize("line", ["nonsense", '{"ts": 1}', '{"kind": "filled", "ts": 1, "client_order_id": 5}', "[]"])
def test_what_is_no_ledger_is_named_with_its_line(tmp_path: Path, line: str) -> None:
    path = tmp_path / "ledger.jsonl"
    path.write_text(f'{{"kind":"opened","ts":1,"venue":"SIM","life":1}}\n{line}\n')
    with pytest.raises(DataError, match=r"ledger\.jsonl:2: no line of"):
        restore(path)


def test_the_next_life_goes_on_where_the_last_one_ended(tmp_path: Path) -> None:
    text = CONFIG + '\n[[connections]]\nvenue = "SIM"\nadapter = "sim"\naddress = "unix:/tmp/nowhere"\n'
    loaded = load_config(write_config(tmp_path, text))
    for seed in range(100):
        world, path = lived(tmp_path, seed)
        before = restore(path)
        if before.open_orders:
            break
        path.unlink()
    assert before.open_orders
    opened = open_venue(loaded, venue=None, listen=None, ledger_path=path, cancel_on_disconnect=False)
    opened.ledger.close()
    account = opened.exchange.account
    assert account.open == {}
    assert account.positions[INSTRUMENT] == world.exchange.account.positions[INSTRUMENT]
    assert account.cash_moves == before.cash_moves
    assert opened.exchange.number == before.number + len(before.open_orders)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["client_order_id"] for line in lines if line.get("reason") == "CLOSED"] == list(before.open_orders)
    after = restore(path)
    assert (after.sessions, after.open_orders, after.number) == (2, {}, opened.exchange.number)


def test_a_disk_that_refuses_stops_the_venue_before_anything_follows(tmp_path: Path) -> None:
    ledger = LedgerFile(tmp_path / "ledger.jsonl")
    exchange = Exchange(RandomMarket(random.Random(1)), VenueAccount({}), SETTINGS, ledger.note)
    exchange.connect(1)
    ledger.note({"kind": "logout", "ts": 1})
    os.close(ledger._file)
    with pytest.raises(StorageError, match="cannot be written"):
        ledger.flush()


@pytest.mark.parametrize(
    ("venue", "listen", "sentence"),
    [
        ("SIN", None, "data: none is of the venue SIN; did you mean SIM?"),
        (None, None, "connections: none is for SIM: say where it listens"),
        (None, "0.0.0.0:1", "only this machine can be reached"),
        (None, "nowhere", "'nowhere' is no address"),
        (None, "unix:" + "x" * 200, "a unix socket's path has"),
        (None, "127.0.0.1:99999", "is no address"),
    ],
)
def test_a_venue_that_cannot_be_opened_says_why(tmp_path: Path, venue: str | None, listen: str | None, sentence: str) -> None:
    loaded = load_config(write_config(tmp_path))
    with pytest.raises(ConfigError, match=sentence.replace("?", "[?]")):
        open_venue(loaded, venue=venue, listen=listen, ledger_path=None, cancel_on_disconnect=False)


def test_two_venues_do_not_listen_in_one_place_and_a_dead_ones_socket_is_taken_over(tmp_path: Path) -> None:
    from adapters.sim.address import parse_address

    address = parse_address(f"unix:{tmp_path / 'v'}")
    listener, _ = open_listener(address)
    with pytest.raises(StorageError, match="somebody listens there already"):
        open_listener(address)
    listener.close()
    again, _ = open_listener(address)
    assert (tmp_path / "v").stat().st_mode & 0o777 == 0o600
    again.close()
    free, found = open_listener(parse_address("127.0.0.1:0"))
    assert found.port > 0
    free.close()
