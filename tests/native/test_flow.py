"""The order-flow generator as a machine: repeatable, exact under interference, within its limits, always valid rows."""

from __future__ import annotations

import hashlib
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("native._native", reason="the C extension is not built")

from native._native import ffi, lib

from native.flow import CAP_REACHED, END_REACHED, UNTIL_REACHED, Flow, FlowError, power_law_hz
from native.market_data import ADD, DELETE, FLAG_AGGRESSIVE, FLAG_IOC, FLAG_LAST, FLAG_SNAPSHOT, REDUCE
from sim.order_flow import RegimeSettings
from tests.native.flow_market import NS, TRADE, Market

ROOT = Path(__file__).resolve().parents[2]


def digest(market: Market, rows_max: int) -> str:
    return hashlib.sha256(market.initial.tobytes() + market.run(rows_max=rows_max).tobytes()).hexdigest()


# The tape of a seed is part of the interface: results that users published must come again. Change these only together
# with a change of the model that is meant.
GOLDEN = {
    ("normal", 1): "361d776b2c2477c3770ba36ec8fa2bab0601916cc550b52b04bfede7ec711dab",
    ("volatile", 7): "d8b12ac5bd040a5bf310730e9bc1744ca1067d2d5c5f02bab4e2f9eebd9e6221",
    ("cont_stoikov_talreja", 3): "df8db5033e4c3fd5880ca46bcdf9956cb09d08456f835a65fd0bf82e85b1438d",
}


@pytest.mark.parametrize(("name", "seed"), GOLDEN)
def test_golden_tape(name: str, seed: int) -> None:
    assert digest(Market(name, seed=seed), 20_000) == GOLDEN[name, seed]


def test_same_tape_in_another_process() -> None:
    code = "from tests.native.test_flow import digest, Market; print(digest(Market('normal', seed=99), 5000))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == digest(Market("normal", seed=99), 5000)


def test_seeds_and_streams_differ() -> None:
    assert len({digest(Market(seed=seed), 200) for seed in range(20)}) == 20


def test_stopping_anywhere_changes_nothing() -> None:
    whole = Market(seed=5, seconds=120).run()
    market = Market(seed=5, seconds=120)
    source = random.Random(5)
    parts, until = [], 0
    while until < 120 * NS:
        until += source.randrange(1, NS // 3)
        parts.append(market.run(until_ts=until, rows_max=source.choice([1, 3, 10**6])).tobytes())
    parts.append(market.run().tobytes())
    assert b"".join(parts) == whole.tobytes()


def test_next_and_run_agree() -> None:
    whole = Market(seed=6).run(rows_max=500)
    market = Market(seed=6)
    for expected in whole:
        row = market.flow.next(market.book, 0, 1 << 62)
        assert row is not None
        assert row[0] == expected
        assert market.apply(row) >= 1


class PlainBook:
    """Applies rows the slow and obvious way: lists at prices. Raises where a row does not fit the book."""

    def __init__(self) -> None:
        self.queues: tuple[dict[int, list[list[int]]], dict[int, list[list[int]]]] = ({}, {})

    def best(self, side: int) -> int | None:
        prices = self.queues[side]
        return (max(prices) if side == 0 else min(prices)) if prices else None

    def apply(self, row: Any) -> None:
        side, price, qty = int(row["side"]), int(row["price"]), int(row["qty"])
        toward = 1 if side == 0 else -1
        if row["kind"] == ADD:
            assert qty > 0
            best = self.best(1 - side)
            if not row["flags"] & FLAG_AGGRESSIVE:
                assert best is None or (best - price) * toward > 0, f"limit order crosses: {row}"
                self.queues[side].setdefault(price, []).append([int(row["order_id"]), qty])
                return
            assert row["flags"] & FLAG_IOC
            assert best is not None
            assert (price - best) * toward >= 0, f"market order cannot trade: {row}"
            while qty and best is not None and (price - best) * toward >= 0:
                queue = self.queues[1 - side][best]
                traded = min(qty, queue[0][1])
                qty -= traded
                queue[0][1] -= traded
                if queue[0][1] == 0:
                    queue.pop(0)
                if not queue:
                    del self.queues[1 - side][best]
                best = self.best(1 - side)
            return
        queue = self.queues[side][price]
        (place,) = [index for index, order in enumerate(queue) if order[0] == row["order_id"]]
        if row["kind"] == DELETE:
            assert queue.pop(place)[1] == qty
        else:
            assert row["kind"] == REDUCE
            assert 0 < qty < queue[place][1]
            queue[place][1] -= qty
        if not queue:
            del self.queues[side][price]


@pytest.mark.parametrize("name", ["calm", "normal", "volatile", "cont_stoikov_talreja"])
def test_every_row_fits_the_book_it_was_made_for(name: str) -> None:
    market = Market(name, seed=11, seconds=600, tick=5, lot=100)
    plain = PlainBook()
    for row in market.initial:
        assert row["flags"] & FLAG_SNAPSHOT
        plain.apply(row)
    assert [bool(row["flags"] & FLAG_LAST) for row in market.initial] == [False] * (len(market.initial) - 1) + [True]
    rows = market.run(rows_max=20_000)
    ts = 0
    ids = list(market.initial["order_id"])
    for row in rows:
        assert row["ts_event"] >= ts
        assert row["price"] % 5 == 0
        assert row["qty"] % 100 == 0
        assert row["flags"] & FLAG_LAST
        ts = row["ts_event"]
        if row["kind"] == ADD:
            ids.append(row["order_id"])
        plain.apply(row)
    assert ids == list(range(1, len(ids) + 1))
    # Both books end alike, level by level.
    levels = ffi.new("book_level[]", 1000)
    for side in (0, 1):
        count = lib.book_levels(market.book, 0, side, levels, 1000)
        found = {levels[index].price: (levels[index].qty, levels[index].orders) for index in range(count)}
        wanted = {price: (sum(order[1] for order in queue), len(queue)) for price, queue in plain.queues[side].items()}
        assert found == wanted
    market.check()


class Intruder:
    """A strategy without sense: quotes, takes, cancels, sometimes wipes the whole book out."""

    def __init__(self, market: Market, seed: int) -> None:
        self.market = market
        self.random = random.Random(seed)
        self.next_id = 1 << 62

    def act(self, ts: int) -> None:
        market, source = self.market, self.random
        choice = source.random()
        if choice < 0.35:
            self.submit(ts, time_in_force=0, distance=source.randint(-2, 6), qty=source.randint(1, 50))
        elif choice < 0.6:
            self.submit(ts, time_in_force=1, distance=-20, qty=source.randint(1, 400))
        elif choice < 0.9:
            own = source.randint(1 << 62, max(self.next_id - 1, 1 << 62))
            assert lib.book_cancel(market.book, ts, own, market.reports, 1 << 15) == 1
        elif choice < 0.98:
            # Somebody removes an order of the generator behind its back.
            theirs = source.randint(1, market.flow.state()["order_id_next"])
            assert lib.book_cancel(market.book, ts, theirs, market.reports, 1 << 15) == 1
        else:
            assert lib.book_mass_cancel(market.book, ts, 0, 0, source.choice([-1, 0, 1]), market.reports, 1 << 15) >= 0

    def submit(self, ts: int, *, time_in_force: int, distance: int, qty: int) -> None:
        market, side = self.market, self.random.randrange(2)
        best = market.best(1 - side)
        reference = best[0] if best else 10_000
        price = max(1, reference - distance if side == 0 else reference + distance)
        order = {"order_id": self.next_id, "owner": 1, "price": price, "qty": qty, "side": side, "time_in_force": time_in_force}
        self.next_id += 1
        assert lib.book_submit(market.book, ts, ffi.new("book_order *", order), market.reports, 1 << 15) >= 1


@pytest.mark.parametrize("seed", range(6))
def test_random_strategy_interferes(seed: int) -> None:
    """Repeat one: pytest "tests/native/test_flow.py::test_random_strategy_interferes[SEED]"."""
    market = Market(["calm", "normal", "volatile"][seed % 3], seed=seed, seconds=100_000)
    intruder = Intruder(market, seed)
    clock = random.Random(seed)
    now = 0
    trades_with_intruder = 0
    for _ in range(600):
        until = now + clock.randrange(0, 400_000_000)
        while (row := market.flow.next(market.book, 0, until)) is not None:
            assert now <= row["ts_event"][0] <= until
            now = int(row["ts_event"][0])
            count = market.apply(row)
            assert count >= 1
            kinds = [market.reports[index].kind for index in range(count)]
            assert lib.BOOK_REPORT_REJECTED not in kinds
            assert lib.BOOK_REPORT_CANCEL_REJECTED not in kinds
            trades_with_intruder += sum(
                market.reports[index].kind == TRADE and market.reports[index].contra_id >= 1 << 62 for index in range(count)
            )
            assert not market.crossed()
            market.check()
        now = until
        intruder.act(now)
        market.check()
        assert not market.crossed()
    assert trades_with_intruder > 10


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("side", [-1, 0, 1])
def test_an_emptied_book_comes_back(seed: int, side: int) -> None:
    market = Market("normal", seed=seed)
    market.run(until_ts=60 * NS)
    assert lib.book_mass_cancel(market.book, 60 * NS, 0, 0, side, market.reports, 1 << 15) > 0
    market.run(until_ts=61 * NS)
    bid, ask = market.best(0), market.best(1)
    assert bid is not None
    assert ask is not None
    assert 0 < ask[0] - bid[0] < 20
    fair = market.flow.state()["fair_ticks"]
    assert bid[0] - 10 < fair < ask[0] + 10
    market.check()


def random_settings(source: random.Random) -> dict[str, Any]:
    """Settings anywhere in their ranges, the edges often: whatever is accepted must run."""

    def unit() -> float:
        return source.choice([0.0, 1.0, source.random()])

    def rate(top: float) -> float:
        return source.choice([0.0, top, top * source.random(), 1e-3])

    regimes = []
    names = ["a", "b", "c", "d"][: source.randint(1, 4)]
    for name in names:
        others = [other for other in names if other != name]
        regimes.append(
            RegimeSettings(
                name=name,
                duration_s=source.choice([0.05, 1.0, 100.0]),
                volatility_ticks=source.choice([0.0, 1.0, 1e3, 1e6]),
                limit_factor=source.choice([0.0, 1.0, 5.0]),
                market_factor=source.choice([0.0, 1.0, 5.0]),
                cancel_factor=source.choice([0.0, 1.0, 5.0]),
                edge_ticks=source.choice([0.0, 0.5, 100.0, 1e6]),
                next=dict.fromkeys(others, 1 / len(others)) if others else {},
            )
        )
    return {
        "regimes": tuple(regimes),
        "regime_start": source.choice([*names, ""]),
        "levels": source.choice([1, 2, 64]),
        "limit_hz": rate(100.0),
        "distance_exponent": source.choice([0.0, 1.0, 100.0]),
        "join_probability": unit(),
        "limit_informed": unit(),
        "anchor_fair": source.random() < 0.5,
        "cancel_hz": rate(5.0),
        "cancel_far_factor": source.choice([1e-3, 1.0, 1e3]),
        "cancel_adverse": source.choice([0.0, 1.0, 100.0]),
        "stale_hz": rate(100.0),
        "reduce_probability": unit(),
        "market_hz": rate(20.0),
        "market_imbalance": unit(),
        "informed_hz": rate(20.0),
        "informed_scale_ticks": source.choice([1e-9, 1.0, 1e12]),
        "impact_ticks": source.choice([0.0, 0.3, 1e6]),
        "sweep_probability": unit(),
        "protection_ticks": source.choice([0, 1, 1 << 31]),
        "parents": source.choice([0, 1, 64]),
        "parent_alpha": source.choice([1.0001, 1.5, 1e3]),
        "limit_size_median": source.choice([1.0, 5.0]),
        "limit_size_sigma": source.choice([0.0, 1.0, 10.0]),
        "market_size_median": source.choice([1.0, 5.0]),
        "market_size_sigma": source.choice([0.0, 1.0, 10.0]),
        "size_max_lots": source.choice([5, 1000, (1 << 31) - 1]),
        "round_probability": unit(),
        "round_lots": source.choice([1, 10, (1 << 31) - 1]),
        "fair_hz": source.choice([1e-3, 10.0, 100.0]),
        "orders_max": source.choice([200, 10_000]),
    }


@pytest.mark.parametrize("seed", range(40))
def test_any_accepted_market_runs(seed: int) -> None:
    """Repeat one: pytest "tests/native/test_flow.py::test_any_accepted_market_runs[SEED]"."""
    source = random.Random(seed)
    tick, lot = source.choice([(1, 1), (5, 100), (10**9, 1)])
    width = source.choice([3, 50, 5000])
    session = {"price_min": (10_000 - width) * tick, "price_max": (10_000 + width) * tick}
    market = Market(seed=seed, seconds=200, tick=tick, lot=lot, snapshot_levels=2, **session, **random_settings(source))
    stopped = 0
    for until in range(0, 200 * NS, 2 * NS):
        try:
            market.run(until_ts=until, rows_max=300)
        except FlowError as error:
            stopped = error.code
        market.check()
        assert not market.crossed()
        if stopped:
            # The one honest reason to stop is a full table.
            assert stopped == lib.FLOW_ERR_FULL
            assert lib.book_live_orders(market.book) == market.config["orders_max"]
            break


def test_own_orders_do_not_move_the_clock() -> None:
    """Thinning: the next candidate's time depends on the generator alone, so an own order shifts no arrival before it is met."""
    alone, met = Market(seed=8), Market(seed=8)
    assert alone.run(until_ts=2 * NS).tobytes() == met.run(until_ts=2 * NS).tobytes()
    bid = met.best(0)
    assert bid is not None
    order = ffi.new("book_order *", {"order_id": 1 << 62, "owner": 1, "price": bid[0] - 400, "qty": 1, "side": 0})
    assert lib.book_submit(met.book, 2 * NS, order, met.reports, 10) == 1
    # Far from the quotes it is no part of any decision: the tapes stay the same.
    assert alone.run(until_ts=60 * NS).tobytes() == met.run(until_ts=60 * NS).tobytes()


def test_quotes_react_to_an_own_order() -> None:
    """A wall at the best bid makes the bid the heavy side: market orders follow it, and asks are cancelled faster."""
    shares = []
    for wall in (0, 5000):
        buys = total = 0
        for seed in range(40):
            market = Market("normal", seed=seed, market_imbalance=0.9, limit_size_sigma=0.0)
            bid = market.best(0)
            assert bid is not None
            if wall:
                order = ffi.new("book_order *", {"order_id": 1 << 62, "owner": 1, "price": bid[0], "qty": wall, "side": 0})
                assert lib.book_submit(market.book, 0, order, market.reports, 10) == 1
            market.run(until_ts=5 * NS)
            state = market.flow.state()
            uninformed = [state["markets"][side] - state["markets_informed"][side] for side in (0, 1)]
            buys += uninformed[0]
            total += sum(uninformed)
        shares.append(buys / total)
    assert shares[1] > shares[0] + 0.1


def test_session_ends() -> None:
    market = Market(seed=2, seconds=10)
    rows, why = market.flow.run(market.book, 0, until_ts=1 << 62, rows_max=10**6)
    assert why == END_REACHED
    assert rows["ts_event"][-1] < 10 * NS
    assert market.flow.next(market.book, 0, 1 << 62) is None
    assert market.flow.run(market.book, 0, until_ts=1 << 62, rows_max=5)[1] == END_REACHED


def test_why_a_run_stops() -> None:
    market = Market(seed=2)
    assert market.flow.skip(market.book, 0, until_ts=1 << 62, rows_max=3) == (3, CAP_REACHED)
    now = market.flow.state()["ts"]
    assert market.flow.skip(market.book, 0, until_ts=now, rows_max=3) == (0, UNTIL_REACHED)
    with pytest.raises(FlowError) as caught:
        market.flow.next(market.book, 0, now - 1)
    assert caught.value.code == lib.FLOW_ERR_TIME


def test_feed_latency_and_instrument_are_stamped() -> None:
    market = Market(seed=2, feed_latency_ns=1500, instrument=7)
    rows = market.run(rows_max=100)
    assert set(rows["ts_init"] - rows["ts_event"]) == {1500}
    assert set(rows["instrument"]) == {7}


def test_a_replayed_tape_leaves_the_same_book() -> None:
    """Same trades and volume as when it was generated: a tape can stand for its generator."""
    first, second = Market(seed=22), Market(seed=22)
    rows = first.run(rows_max=20_000)
    source = ffi.from_buffer("md_row[]", rows)
    assert lib.flow_replay(second.book, 0, source, len(rows), second.reports, 1 << 15) == len(rows)
    totals = []
    for market in (first, second):
        found = ffi.new("book_totals *")
        assert lib.book_totals_get(market.book, found) == 0
        totals.append((found.trades, found.volume, found.notional, found.accepted, found.canceled, found.rejected))
    assert totals[0] == totals[1]
    assert totals[0][5] == 0
    bad = rows[:1].copy()
    bad["kind"] = 99
    assert lib.flow_replay(second.book, 0, ffi.from_buffer("md_row[]", bad), 1, second.reports, 1 << 15) == 0


def test_a_later_start_shifts_the_tape_and_changes_nothing_else() -> None:
    start = 1_790_000_000_123_456_789
    early = Market(seed=21, seconds=60).run()
    late = Market(seed=21, ts_start=start, ts_end=start + 60 * NS).run()
    late["ts_event"] -= start
    late["ts_init"] -= start
    assert late.tobytes() == early.tobytes()


def test_two_symbols_in_one_book_do_not_disturb_each_other() -> None:
    alone = [Market(seed=seed, seconds=60).run() for seed in (31, 32)]
    first = Market(seed=31, seconds=60)
    second = Market(seed=32, seconds=60, order_id_first=1 << 40)
    rules = {"tick": 1, "lot": 1, "qty_min": 1, "qty_max": 1 << 40, "price_min": 1, "price_max": 1_000_000}
    assert lib.book_symbol_add(first.book, ffi.new("book_symbol *", rules)) == 1
    for index in range(len(second.initial)):
        source = ffi.from_buffer("md_row *", second.initial[index : index + 1])
        assert lib.flow_apply(first.book, 1, source, first.reports, 1 << 15) == 1
    parts: list[list[bytes]] = [[], []]
    for second_of_time in range(1, 61):
        until = second_of_time * NS
        parts[0].append(first.run(until_ts=until).tobytes())
        rows = second.flow.run(first.book, 1, until_ts=until, rows_max=100_000)[0]
        rows["order_id"] -= (1 << 40) - 1
        parts[1].append(rows.tobytes())
        first.check()
        second.flow.check(first.book, 1)
    assert [b"".join(part) for part in parts] == [rows.tobytes() for rows in alone]


def test_snapshot_comes_once_and_first() -> None:
    market = Market(seed=2)
    with pytest.raises(FlowError):
        market.flow.snapshot()
    market = Market(seed=2, snapshot_levels=0)
    market.run(rows_max=1)
    with pytest.raises(FlowError):
        market.flow.snapshot()


def test_full_is_an_error_code_and_passes() -> None:
    """With cancels off the table must fill: the generator stops, stays stopped, and goes on once orders have left."""
    off = {"cancel_hz": 0.0, "stale_hz": 0.0, "market_hz": 0.0, "informed_hz": 0.0, "snapshot_levels": 1}
    market = Market(seed=3, orders_max=100, seconds=10**6, **off)
    with pytest.raises(FlowError) as caught:
        market.flow.skip(market.book, 0, until_ts=1 << 62, rows_max=10**6)
    assert caught.value.code == lib.FLOW_ERR_FULL
    assert lib.book_live_orders(market.book) == 100
    before = market.flow.state()
    with pytest.raises(FlowError):
        market.flow.next(market.book, 0, 1 << 62)
    assert market.flow.state() == before
    market.check()
    assert lib.book_mass_cancel(market.book, 10**15, 0, 0, 0, market.reports, 1000) > 0
    assert market.flow.next(market.book, 0, 1 << 62) is not None


def test_order_ids_run_out() -> None:
    market = Market(seed=3, order_id_first=(1 << 62) - 200)
    with pytest.raises(FlowError) as caught:
        market.run()
    assert caught.value.code == lib.FLOW_ERR_IDS


def test_price_band_holds() -> None:
    market = Market(seed=4, seconds=2000, price_min=9990, price_max=10_010)
    rows = market.run()
    assert rows["price"].min() >= 9990
    assert rows["price"].max() <= 10_010
    assert len(rows) > 10_000
    market.check()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("ts_end", 0),
        ("tick", 0),
        ("lot", -1),
        ("price_max", 5),
        ("price_start", 10_000_000),
        ("orders_max", 0),
        ("order_id_first", 0),
        ("order_id_first", 1 << 62),
        ("anchor", 2),
        ("levels_n", 0),
        ("levels_n", 65),
        ("regimes_n", 5),
        ("regime_start", 3),
        ("snapshot_levels", -1),
        ("parents_n", 65),
        ("parent_alpha", 1.0),
        ("round_lots", 0),
        ("size_max_lots", 0),
        ("size_max_lots", 1 << 31),
        ("limit_hz", [float("nan")]),
        ("cancel_hz", [-1.0]),
        ("market_hz", float("inf")),
        ("informed_hz", float("nan")),
        ("informed_scale_ticks", 0.0),
        ("cancel_adverse", float("nan")),
        ("impact_ticks", float("nan")),
        ("join_probability", 1.1),
        ("sweep_probability", float("nan")),
        ("limit_size_median", 0.5),
        ("market_size_sigma", 11.0),
        ("fair_hz", 0.0),
        ("feed_latency_ns", -1),
    ],
)
def test_bad_config_is_named(field: str, value: Any) -> None:
    config = {**Market(seed=1).config, field: value}
    with pytest.raises(ValueError, match=r"order flow: [a-z_]+: "):
        Flow(config)


def test_bad_regimes_are_refused() -> None:
    config = Market(seed=1).config
    for name, value in (("duration_s", 0.0), ("edge_ticks", float("nan")), ("next", [0.5, 0.5, 0.0]), ("next", [0.0, 0.5, 0.4])):
        regimes = [dict(regime) for regime in config["regimes"]]
        regimes[0][name] = value
        with pytest.raises(ValueError, match=r"order flow: regimes: "):
            Flow({**config, "regimes": regimes})


def test_null_arguments_are_refused() -> None:
    market = Market(seed=1)
    assert lib.flow_new(ffi.NULL) == ffi.NULL
    assert lib.flow_next(ffi.NULL, market.book, 0, 0, ffi.NULL) == lib.FLOW_ERR_ARGUMENT
    assert lib.flow_next(market.flow.handle, ffi.NULL, 0, 0, ffi.NULL) == lib.FLOW_ERR_ARGUMENT
    assert lib.flow_state(market.flow.handle, ffi.NULL) == lib.FLOW_ERR_ARGUMENT
    assert lib.flow_check(ffi.NULL, market.book, 0) == lib.FLOW_ERR_ARGUMENT
    lib.flow_free(ffi.NULL)


def test_power_law() -> None:
    rates = power_law_hz(10.0, 2.0, 3)
    assert sum(rates) == pytest.approx(10.0, rel=1e-15)
    assert rates[0] / rates[1] == pytest.approx(4.0, rel=1e-14)
    assert rates[0] / rates[2] == pytest.approx(9.0, rel=1e-14)
    assert power_law_hz(6.0, 0.0, 3) == [2.0, 2.0, 2.0]
    with pytest.raises(ValueError):
        power_law_hz(1.0, float("nan"), 3)
    with pytest.raises(ValueError):
        power_law_hz(1.0, 1.0, 65)


def test_golden_rows_to_read() -> None:
    """The first rows as text: when the digest above breaks, this shows where."""
    rows = Market("normal", seed=1).run(rows_max=60)
    names = {ADD: "add", DELETE: "delete", REDUCE: "reduce"}
    lines = [
        f"{row['ts_event']:>10} {'take' if row['flags'] & FLAG_IOC else names[int(row['kind'])]:<6} "
        f"{'sell' if row['side'] else 'buy':<4} {row['qty']:>3} @ {row['price']} #{row['order_id']}"
        for row in rows
    ]
    golden = ROOT / "tests" / "native" / "flow_golden_normal_1.txt"
    assert lines == golden.read_text(encoding="utf-8").splitlines()
