"""What a configuration must say, and what the venue's rules must agree to: both values stand in the error."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import pytest

from adapters.ib import opening as ib
from adapters.ib.contracts import Listed, check_ticks, qualify, wanted_contract
from adapters.ib.messages import Details
from adapters.ib.settings import IbSettings
from core.enums import InstrumentClass
from core.errors import ConfigError, RefusedError
from core.strategy import Subscription
from core.venue_opening import Environment, VenueOpening
from daemon.trading.venue_opening import venue_defaults
from sim.venues.ib.opening import INSTRUMENTS, SYMBOLS
from tests.adapters.ib.bench import AAPL, ES, Bench, in_a_loop

OPTION = "AAPL-C250.IB"
SETTINGS = msgspec.convert(venue_defaults("ib"), IbSettings)
NS = 10**9


def opening(**changes: Any) -> VenueOpening:
    settings: Mapping[str, Any] = changes.pop("settings", {})
    fields: dict[str, Any] = {
        "venue": "IB",
        "environment": Environment.TEST,
        "account": "DU1",
        "address": "",
        "settings": venue_defaults("ib") | settings,
        "secret": lambda _part: "",
        "instruments": {ES: INSTRUMENTS[ES]},
        "symbols": {},
        "subscriptions": (),
        "order_id_prefix": "p",
        "now": lambda: 0,
        "on_trouble": lambda _text: None,
    }
    return VenueOpening(**(fields | changes))


def test_the_defaults_open_a_paper_gateway_on_this_machine() -> None:
    ib.check(opening())
    assert ib.address_of(opening(), SETTINGS) == ("127.0.0.1", 4002)
    assert ib.address_of(opening(environment=Environment.LIVE), SETTINGS) == ("127.0.0.1", 4001)
    ib.check(opening(environment=Environment.LIVE, account="U1"))
    ib.check(opening(environment=Environment.SIMULATOR, address="127.0.0.1:5000"))


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"address": "127.0.0.1:4001"}, "address: port 4001 is none of those for 'test': [7497, 4002]"),
        ({"address": "gateway:7496"}, "address: port 7496 is none of those for 'test'"),
        (
            {"environment": Environment.LIVE, "account": "U1", "address": "x:7497"},
            "address: port 7497 is none of those for 'live'",
        ),
        ({"environment": Environment.LIVE}, "account: account 'DU1' is no live account: those begin with U or F or I"),
        ({"account": "U1"}, "account: account 'U1' is no paper account: those begin with D"),
        ({"environment": Environment.SIMULATOR}, "address: this key is missing"),
        ({"environment": Environment.SIMULATOR, "address": "127.0.0.1:4001"}, "address: port 4001 is one of a gateway's own"),
        (
            {"environment": Environment.SIMULATOR, "address": "10.0.0.1:5000"},
            "address: '10.0.0.1': a simulator is on this machine",
        ),
        ({"settings": {"guardian_client_id": 11}}, "settings: client_id, guardian_client_id and watch_client_id"),
        ({"settings": {"client_id": 0}}, "settings: client_id, guardian_client_id and watch_client_id"),
        ({"settings": {"reset_time": "25:00"}}, "settings: reset_time"),
        ({"settings": {"reset_time_zone": "Mars/Base"}}, "settings: reset_time_zone"),
        ({"settings": {"cancel_reserve": 45}}, "settings: cancel_reserve"),
        ({"settings": {"silence_s": 1.0}}, "settings: silence_s"),
        ({"settings": {"no_such_key": 1}}, "settings: "),
        ({"symbols": {ES: "FUT ESZ6"}}, "symbols: ESZ6.IB: 'FUT ESZ6' is none of the forms"),
        ({"symbols": {ES: "FUT ESZ6\0 CME USD"}}, "symbols: ESZ6.IB: "),
        ({"instruments": {OPTION: INSTRUMENTS[OPTION]}}, "symbols: AAPL-C250.IB: an option needs a name"),
        ({"subscriptions": [Subscription(instrument_id=ES, book_levels=20)]}, "ESZ6.IB: a strategy wants 20 levels"),
    ],
)
def test_what_cannot_be_is_said_with_its_key(changes: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        ib.check(opening(**changes))
    assert str(caught.value).startswith(text)


def test_contracts_by_their_names() -> None:
    def named(key: str, name: str = "") -> tuple[Any, ...]:
        contract = wanted_contract(INSTRUMENTS[key], name, SETTINGS)
        return (
            contract.conId,
            contract.secType,
            contract.symbol,
            contract.localSymbol,
            contract.exchange,
            contract.primaryExchange,
        )

    assert named(ES) == (0, "FUT", "", "ESZ6", "CME", "")
    assert named(AAPL) == (0, "STK", "AAPL", "", "SMART", "")
    assert named(AAPL, "STK AAPL SMART USD NASDAQ") == (0, "STK", "AAPL", "", "SMART", "NASDAQ")
    assert named(AAPL, "ID 265598 SMART") == (265598, "", "", "", "SMART", "")
    assert named(OPTION, SYMBOLS[OPTION]) == (0, "OPT", "AAPL", "", "SMART", "")


def details(**changes: Any) -> Details:
    fields: dict[str, Any] = {
        "request": 1,
        "con_id": 5,
        "symbol": "ES",
        "security_type": "FUT",
        "local_symbol": "ESZ6",
        "exchange": "CME",
        "currency": "USD",
        "multiplier": "50",
        "min_tick": "0.25",
        "price_magnifier": 1,
        "size_increment": "1",
        "order_types": ("LMT", "MKT"),
        "rules": (("CME", 67),),
    }
    return Details(**(fields | changes))


@pytest.mark.parametrize(
    ("found", "text"),
    [
        ([], "symbols: ESZ6.IB: the venue knows no contract by this name: FUT ESZ6 CME USD"),
        ([details(), details()], "symbols: ESZ6.IB: the venue knows 2 contracts by this name"),
        ([details(security_type="STK")], "instruments: ESZ6.IB: instrument_class is FUT here and STK at the venue"),
        ([details(currency="EUR")], "instruments: ESZ6.IB: quote_currency is USD here and EUR at the venue"),
        ([details(multiplier="5")], "instruments: ESZ6.IB: multiplier is 50 here and 5 at the venue"),
        ([details(multiplier="")], "instruments: ESZ6.IB: multiplier is 50 here and 1 at the venue"),
        ([details(price_magnifier=100)], "instruments: ESZ6.IB: the venue quotes it in 1/100 of its currency"),
        ([details(size_increment="100")], "instruments: ESZ6.IB: lot is 1 here and 100 at the venue"),
    ],
)
def test_a_contract_that_is_not_what_is_configured(found: list[Details], text: str) -> None:
    wanted = wanted_contract(INSTRUMENTS[ES], "", SETTINGS)
    with pytest.raises(ConfigError) as caught:
        qualify(Listed(INSTRUMENTS[ES], wanted, wanted), found)
    assert str(caught.value).startswith(text)


def listed(**changes: Any) -> Listed:
    instrument = msgspec.structs.replace(INSTRUMENTS[ES], **changes)
    return Listed(instrument, None, None, min_tick="0.25")


def test_ticks_are_held_against_every_band_that_prices_may_be_in() -> None:
    check_ticks(listed(), ())
    check_ticks(listed(), (("0.0", "0.25"),))
    check_ticks(listed(price_min=100), (("0.0", "0.01"), ("3.0", "0.05")))
    with pytest.raises(ConfigError, match=r"tick is 0.25 here and 0.5 at the venue \(prices from 0\)"):
        check_ticks(listed(), (("0", "0.5"),))
    with pytest.raises(ConfigError, match=r"tick is 0.25 here and 0.1 at the venue \(prices from 100\)"):
        check_ticks(listed(), (("0", "0.25"), ("100", "0.1")))
    # A band that no price of ours is in says nothing.
    check_ticks(listed(price_max=9_999), (("0", "0.25"), ("100", "0.1")))
    check_ticks(listed(price_min=20_000), (("0", "0.1"), ("100", "0.25")))
    with pytest.raises(ConfigError, match="price_scale 2 cannot say them"):
        check_ticks(listed(price_scale=2, tick=100, price_min=100), (("0", "0.0001"), ("1", "0.01")))


def test_a_different_multiplier_ends_the_opening_and_later_a_reconnect() -> None:
    async def test(bench: Bench) -> None:
        wrong = msgspec.structs.replace(INSTRUMENTS[ES], multiplier=5)
        adapter = bench.make_adapter(instruments={ES: wrong}, subscriptions=())
        with pytest.raises(ConfigError, match="multiplier is 5 here and 50 at the venue"):
            await adapter.open()

    in_a_loop(test)


def test_one_contract_under_two_names_is_refused() -> None:
    async def test(bench: Bench) -> None:
        twin = msgspec.structs.replace(INSTRUMENTS[ES], instrument_id="TWIN.IB")
        adapter = bench.make_adapter(
            instruments={ES: INSTRUMENTS[ES], "TWIN.IB": twin}, symbols={"TWIN.IB": "FUT ESZ6 CME USD"}, subscriptions=()
        )
        with pytest.raises(RefusedError, match="two configured instruments are one contract"):
            await adapter.open()

    in_a_loop(test)


def test_the_reset_by_the_clock_of_its_zone() -> None:
    # 2026-11-20 23:45 in New York is 04:45 UTC of the 21st.
    begins = 1_795_236_300 * NS
    for ts, left in ((begins - 60 * NS, 60), (begins, 0), (begins + 1_799 * NS, 0), (begins + 1_800 * NS, 84_600)):
        assert SETTINGS.seconds_to_reset(ts) == left
    # In summer it is an hour earlier by UTC.
    assert SETTINGS.seconds_to_reset((1_780_371_900 - 10) * NS) == 10


def test_instruments_of_other_classes_are_refused() -> None:
    spot = msgspec.structs.replace(INSTRUMENTS[ES], instrument_class=InstrumentClass.SPOT)
    with pytest.raises(ConfigError, match="only equities, futures and options"):
        wanted_contract(spot, "", SETTINGS)
