"""The pure parts by themselves: numbers, stamps, hours, fees, outcomes, checks, settings."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from msgspec import Raw
from msgspec.msgpack import Ext

from adapters.alpaca import exact, outcomes
from adapters.alpaca.checks import account_problems, asset_problems, clock_problems
from adapters.alpaca.fees import Fees
from adapters.alpaca.hours import Hours, moment, offset_ns, trade_date, trading_days
from adapters.alpaca.orders import Ours, on_one_list
from adapters.alpaca.question_pace import QuestionPace
from adapters.alpaca.questions import Questions, Why
from adapters.alpaca.settings import AlpacaSettings, endpoints_of, require_key_of
from adapters.alpaca.wire import ACCOUNT, ASSET, CLOCK, DayBody, read
from adapters.http.meters import Lane, SlidingWindow
from adapters.http.request import Answer, Outcome
from core.enums import MarketStatus, Reason, Side, TimeInForce
from core.errors import ConfigError, VenueProtocolError
from core.units import NS_PER_MS, NS_PER_SECOND, format_fixed
from core.venue_opening import Environment
from sim.venues.alpaca import hours as simulated
from sim.venues.alpaca.settings import listing_rules
from tests.adapters.alpaca.world import DEFAULTS

SETTINGS = msgspec.convert(DEFAULTS, AlpacaSettings)
NEW_YORK = ZoneInfo("America/New_York")


def ns(*when: int) -> int:
    return int(datetime(*when, tzinfo=NEW_YORK).timestamp()) * NS_PER_SECOND


# Numbers.


@given(st.integers(0, 10**11), st.integers(0, 4))
def test_a_double_is_what_the_venue_wrote(points: int, decimals: int) -> None:
    text = format_fixed(points, decimals)
    assert exact.number_of_double(float(text), 4, "p") == points * 10 ** (4 - decimals)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), 1e300, 161.295812345, 1e-9])
def test_a_double_that_is_no_price_is_refused(value: float) -> None:
    with pytest.raises(VenueProtocolError):
        exact.number_of_double(value, 4, "p")


@pytest.mark.parametrize(
    ("raw", "expected"), [(b'"161.29"', 1_612_900), (b"161.29", 1_612_900), (b"1e2", 1_000_000), (b'"-5"', -50_000)]
)
def test_numbers_in_quotes_and_without(raw: bytes, expected: int) -> None:
    assert exact.number_of(Raw(raw), 4, "x") == expected


@pytest.mark.parametrize("raw", [b"null", b'""', b'"NaN"', b"true", b"[1]", b'"1.00001"', b'"1e999"', b'"' + b"1" * 80 + b'"'])
def test_what_is_no_number_is_refused(raw: bytes) -> None:
    with pytest.raises(VenueProtocolError):
        exact.number_of(Raw(raw), 4, "x")


# Stamps.


@given(st.integers(0, 4_102_444_800 * NS_PER_SECOND))
@example(951_782_400 * NS_PER_SECOND)
def test_stamps_are_read_and_written_exactly(ts: int) -> None:
    assert exact.stamp_of(exact.stamp_text(ts), "t") == ts
    seconds, fraction = divmod(ts, NS_PER_SECOND)
    moment_ = datetime.fromtimestamp(seconds, UTC)
    assert exact.stamp_text(ts) == f"{moment_.strftime('%Y-%m-%dT%H:%M:%S')}.{fraction:09d}Z"
    assert exact.stamp_of_ext(Ext(-1, (fraction << 34 | seconds).to_bytes(8, "big")), "t") == ts
    assert exact.stamp_of_ext(Ext(-1, fraction.to_bytes(4, "big") + seconds.to_bytes(8, "big")), "t") == ts


def test_stamps_with_an_offset() -> None:
    assert exact.stamp_of("2026-11-20T09:30:00.5-05:00", "t") == ns(2026, 11, 20, 9, 30) + 500_000_000


@pytest.mark.parametrize(
    "text", ["", "2026-02-30T00:00:00Z", "2026-11-20T25:00:00Z", "2026-11-20 09:30:00Z", "2026-11-20T09:30:00"]
)
def test_what_is_no_stamp_is_refused(text: str) -> None:
    with pytest.raises(VenueProtocolError):
        exact.stamp_of(text, "t")


# Hours. The zone's own data are the oracle; the adapter has only the rule.


@given(st.integers(1_199_145_600, 2_145_916_800))
@example(1_773_558_000)
@example(1_793_512_800)
def test_new_yorks_clock(seconds: int) -> None:
    offset = datetime.fromtimestamp(seconds, NEW_YORK).utcoffset()
    assert offset is not None
    assert offset_ns(seconds * NS_PER_SECOND) == int(offset.total_seconds()) * NS_PER_SECOND
    day = datetime.fromtimestamp(seconds, NEW_YORK).date()
    assert trade_date(seconds * NS_PER_SECOND) == (day - date(1970, 1, 1)).days


def bodies(first: date, last: date) -> list[DayBody]:
    return [
        DayBody(
            day.day.isoformat(),
            day.opens.strftime("%H:%M"),
            day.closes.strftime("%H:%M"),
            day.early.strftime("%H%M"),
            day.late.strftime("%H%M"),
        )
        for day in simulated.trading_days(first, last, is_always_open=False)
    ]


def test_sessions_around_a_half_day_and_a_change_of_clocks() -> None:
    hours = Hours(is_extended=False)
    hours.load(trading_days(bodies(date(2026, 11, 25), date(2026, 12, 1))))
    expected = [
        (ns(2026, 11, 25, 9, 29), MarketStatus.CLOSED, ns(2026, 11, 25, 9, 30)),
        (ns(2026, 11, 25, 9, 30), MarketStatus.TRADING, ns(2026, 11, 25, 16, 0)),
        (ns(2026, 11, 25, 16, 0), MarketStatus.CLOSED, ns(2026, 11, 27, 9, 30)),  # Thanksgiving in between
        (ns(2026, 11, 27, 12, 59), MarketStatus.TRADING, ns(2026, 11, 27, 13, 0)),  # a half day
        (ns(2026, 11, 27, 13, 0), MarketStatus.CLOSED, ns(2026, 11, 30, 9, 30)),
    ]
    assert [(ts, hours.status(ts), hours.next_change(ts)) for ts, _, _ in expected] == expected
    extended = Hours(is_extended=True)
    extended.load(trading_days(bodies(date(2026, 3, 6), date(2026, 3, 9))))
    assert extended.next_change(ns(2026, 3, 6, 20, 0)) == ns(2026, 3, 9, 4, 0)  # daylight time began on the 8th
    assert extended.status(ns(2026, 3, 9, 4, 0)) is MarketStatus.TRADING


def test_every_moment_of_a_decade_of_days() -> None:
    for number in range(0, 3_653, 7):
        day = date(2022, 1, 1) + timedelta(days=number)
        for minutes in (4 * 60, 9 * 60 + 30, 13 * 60, 16 * 60, 20 * 60):
            expected = ns(day.year, day.month, day.day, minutes // 60, minutes % 60)
            assert moment((day - date(1970, 1, 1)).days, minutes) == expected


# Fees: the published rates.


@pytest.mark.parametrize(
    ("when", "qty", "expected_cents"),
    [
        ((2026, 4, 3, 12), 1_000, 0 + 20),  # no SEC fee yet; 0.195 USD of TAF, up to a cent
        ((2026, 4, 6, 12), 1_000, 206 + 20),  # 100,000 USD at 20.60 a million
        ((2026, 4, 6, 12), 100_000, 20_600 + 979),  # the cap of one trade
        ((2025, 5, 13, 12), 1_000, 278 + 17),
        ((2025, 5, 14, 12), 1_000, 0 + 17),
    ],
)
def test_fees_of_a_sale_at_100_usd(when: tuple[int, ...], qty: int, expected_cents: int) -> None:
    fees, rules = Fees(msgspec.structs.replace(SETTINGS, fees_from_schedule=True)), listing_rules("AAPL")
    assert fees.of(rules, Side.SELL, 1_000_000, qty, ns(*when)) == expected_cents * 10**6
    assert fees.of(rules, Side.BUY, 1_000_000, qty, ns(*when)) == 0
    assert Fees(SETTINGS).of(rules, Side.SELL, 1_000_000, qty, ns(*when)) == 0  # the venue's own charge is booked


# Outcomes.


def verdict(status: int, body: bytes) -> tuple[Outcome, int]:
    found = outcomes.judge(lambda content: read(content, ACCOUNT), Answer(status, {}, body))
    return found.outcome, found.code


ACCOUNT_BODY = b'{"id":"e6fe16f3","account_number":"PA1","status":"ACTIVE","equity":"24000","pattern_day_trader":true}'


@pytest.mark.parametrize(
    ("status", "body", "outcome", "code"),
    [
        (200, ACCOUNT_BODY, Outcome.ACCEPTED, 0),
        (200, b"[]", Outcome.UNKNOWN, 0),
        (200, b"", Outcome.UNKNOWN, 0),
        (200, b'{"code":40310000,"message":"insufficient buying power"}', Outcome.REJECTED_PROVEN, 40310000),
        (403, b'{"code":40310000,"message":"insufficient buying power"}', Outcome.REJECTED_PROVEN, 40310000),
        (403, b"<html>", Outcome.REJECTED_PROVEN, 40310000),
        (401, b'{"message":"unauthorized."}', Outcome.REJECTED_PROVEN, 0),
        (404, b'{"code":40410000,"message":"order not found"}', Outcome.REJECTED_PROVEN, 40410000),
        (404, b"<html>", Outcome.UNKNOWN, 0),
        (422, b'{"code":42210000,"message":"qty must be > 0"}', Outcome.REJECTED_PROVEN, 42210000),
        (422, b'{"code":40010001,"message":"client_order_id must be unique"}', Outcome.UNKNOWN, 40010001),
        (422, b'{"code":40010001,"message":"us_equity orders not allowed"}', Outcome.REJECTED_PROVEN, 40010001),
        (422, b'{"code":42299999,"message":"new"}', Outcome.UNKNOWN, 42299999),
        (429, b'{"code":42910000,"message":"rate limit exceeded"}', Outcome.REJECTED_PROVEN, 42910000),
        (429, b"", Outcome.REJECTED_PROVEN, 42910000),
        (500, b'{"code":50010000,"message":"internal server error occurred"}', Outcome.UNKNOWN, 50010000),
        (503, b"", Outcome.UNKNOWN, 0),
        (504, b"<html>", Outcome.UNKNOWN, 0),
        (408, b'{"code":40810000,"message":"timeout"}', Outcome.UNKNOWN, 40810000),
        (302, b"", Outcome.UNKNOWN, 0),
    ],
)
def test_the_outcome_table(status: int, body: bytes, outcome: Outcome, code: int) -> None:
    assert verdict(status, body) == (outcome, code)


def test_signals() -> None:
    headers = {"x-ratelimit-limit": "200", "x-ratelimit-remaining": "150", "retry-after": "3"}
    signals = outcomes.read_signals(Answer(429, headers, b""))
    assert signals.used == ((outcomes.REQUESTS, 50),)
    assert signals.throttle is not None
    assert signals.throttle.retry_after_ns == 3 * NS_PER_SECOND
    assert outcomes.read_signals(Answer(200, {"x-ratelimit-limit": "-1"}, b"")).used == ()
    assert outcomes.reason_of(42210000, "sub-penny increment does not fulfill") is Reason.BAD_TICK


# Checks.


def test_account_checks() -> None:
    account = read(ACCOUNT_BODY, ACCOUNT)
    legacy = msgspec.structs.replace(SETTINGS, margin_rule="legacy")
    assert account_problems(account, SETTINGS, Environment.TEST, "main") == []
    assert len(account_problems(account, legacy, Environment.TEST, "main")) == 1
    assert "paper account" in account_problems(account, SETTINGS, Environment.LIVE, "main")[0]
    assert "PA2" in account_problems(account, SETTINGS, Environment.TEST, "PA2")[0]
    blocked = msgspec.structs.replace(
        account, trading_blocked=True, account_blocked=True, status="ACCOUNT_CLOSED", currency="EUR"
    )
    assert len(account_problems(blocked, SETTINGS, Environment.SIMULATOR, "main")) == 4
    real = msgspec.structs.replace(account, account_number="93412345")
    assert account_problems(real, SETTINGS, Environment.LIVE, "main") == []
    assert len(account_problems(real, SETTINGS, Environment.TEST, "main")) == 1


def test_asset_checks_name_both_values() -> None:
    asset = read(b'{"id":"1","symbol":"AAPL","status":"active","tradable":true,"class":"us_equity"}', ASSET)
    rules = listing_rules("AAPL")
    assert asset_problems(rules, asset) == []
    other = msgspec.structs.replace(rules, tick=1, multiplier=10)
    assert [problem.partition(": ")[2] for problem in asset_problems(other, asset)] == [
        "multiplier is 10 here, 1 at Alpaca",
        "tick is 0.0001 here, and 0.01 at Alpaca from 1 USD on",
    ]
    halves = msgspec.structs.replace(rules, qty_scale=1, lot=5)
    assert "whole shares only" in asset_problems(halves, asset)[0]
    halted = msgspec.structs.replace(asset, tradable=False, status="inactive")
    assert asset_problems(rules, halted) == ["AAPL.ALPACA: the venue says inactive, tradable false"]


def test_the_clocks_must_agree() -> None:
    clock = read(
        b'{"timestamp":"2026-11-20T10:00:00-05:00","is_open":true,"next_open":"2026-11-23T09:30:00-05:00",'
        b'"next_close":"2026-11-20T16:00:00-05:00"}',
        CLOCK,
    )
    venue = ns(2026, 11, 20, 10)
    assert clock_problems(clock, SETTINGS, venue - NS_PER_SECOND, venue + NS_PER_SECOND) == []
    assert len(clock_problems(clock, SETTINGS, venue + 6 * NS_PER_SECOND, venue + 7 * NS_PER_SECOND)) == 1


# Whose endpoint, whose key.


def test_endpoints_and_keys_of_another_environment_are_refused() -> None:
    assert endpoints_of(SETTINGS, Environment.LIVE, "").trading == "https://api.alpaca.markets"
    assert endpoints_of(SETTINGS, Environment.TEST, "").data_stream == "wss://stream.data.alpaca.markets/v2/iex"
    assert endpoints_of(SETTINGS, Environment.SIMULATOR, "127.0.0.1:9").trading == "http://127.0.0.1:9"
    crossed = msgspec.structs.replace(SETTINGS, live=SETTINGS.test)
    with pytest.raises(ConfigError, match="no endpoint of environment 'live'"):
        endpoints_of(crossed, Environment.LIVE, "")
    with pytest.raises(ConfigError, match="this machine"):
        endpoints_of(SETTINGS, Environment.SIMULATOR, "example.com:80")
    with pytest.raises(ConfigError, match="only environment simulator"):
        endpoints_of(SETTINGS, Environment.LIVE, "127.0.0.1:9")
    require_key_of(Environment.LIVE, "AK123")
    require_key_of(Environment.TEST, "PK123")
    for environment, key in ((Environment.LIVE, "PK123SECRET"), (Environment.TEST, "AK123SECRET"), (Environment.LIVE, "")):
        with pytest.raises(ConfigError) as caught:
            require_key_of(environment, key)
        assert "SECRET" not in str(caught.value)


def test_settings_that_cannot_be() -> None:
    with pytest.raises(ConfigError, match="cancel_reserve"):
        msgspec.structs.replace(SETTINGS, cancel_reserve=150, orders_per_min=60)
    with pytest.raises(ConfigError, match="rise"):
        msgspec.structs.replace(SETTINGS, sec_fees=tuple(reversed(SETTINGS.sec_fees)))


# Questions.


def test_a_question_is_asked_until_its_bound_and_two_misses_behind_it() -> None:
    questions = Questions(bound_ns=10 * NS_PER_SECOND, not_found_needed=2)
    questions.add(1, Why.NEW, sent=0, now=0)
    asked, now, gone = [], 0, False
    while not gone:
        at = questions.next_at()
        assert at is not None
        now = max(now, at)
        assert [each.client_order_id for each in questions.due(now, 10)] == [1]
        asked.append(now / NS_PER_SECOND)
        gone = questions.not_found(1, now, now)
    assert asked == [0.25, 0.75, 1.75, 3.75, 7.75, 10.0, 18.0]
    assert questions.next_at() is None


def test_what_one_list_shows() -> None:
    def ours(number: int, minute: float, venue_id: str = "v") -> Ours:
        ts = NS_PER_SECOND + int(minute * 60 * NS_PER_SECOND)
        return Ours(number, "A.ALPACA", Side.BUY, TimeInForce.DAY, 1, 1, venue_id=venue_id, submitted_ts=ts)

    old, middle, new, nameless = ours(1, 0), ours(2, 6), ours(3, 11), ours(4, 11, "")
    assert on_one_list([old, middle, new, nameless]) == [middle, new]
    assert on_one_list([old, new]) == on_one_list([new, nameless]) == on_one_list([]) == []


def test_single_questions_leave_a_part_of_the_minute_to_comparisons() -> None:
    budget = SlidingWindow(200, 60 * NS_PER_SECOND, cancel_reserve=30, query_reserve=21)
    pace, questions = QuestionPace(budget, 21), Questions(1, 2)
    for number in range(1, 301):
        questions.add(number, Why.LOOK, sent=0, now=0)
    now = NS_PER_SECOND
    asked = questions.due(now, pace.room(now))
    assert [each.client_order_id for each in asked] == list(range(1, 150))
    budget.take(now, len(asked))
    assert (pace.room(now), questions.due(now, pace.room(now))) == (0, [])
    assert budget.wait(now, 21, Lane.QUERY) == 0 < budget.wait(now, 22, Lane.QUERY) == pace.wait(now)
    assert budget.wait(now, 1, Lane.ORDER) == pace.wait(now)
    assert budget.wait(now, 51, Lane.CANCEL) == 0
    now += pace.wait(now)
    assert pace.room(now) == 149
    assert [each.client_order_id for each in questions.due(now, 2)] == [150, 151]


def test_the_less_is_left_of_the_minute_the_more_is_asked_in_one_round() -> None:
    budget = SlidingWindow(200, 60 * NS_PER_SECOND, cancel_reserve=30)
    pace, now, pauses = QuestionPace(budget, 28), NS_PER_SECOND, []
    for taken in (0, 71, 1, 34, 1, 34):  # 142 may be used: a half is 71, a quarter 36
        now += 2 * NS_PER_SECOND
        budget.take(now, taken)
        assert pace.turn(now) == pace.room(now) > 0
        pace.asked(now)
        pauses.append(pace.wait(now))
        assert pace.turn(now + pauses[-1] - 1) == 0
    assert pauses == [ms * NS_PER_MS for ms in (100, 100, 1_000, 1_000, 2_000, 2_000)]
