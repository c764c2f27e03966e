"""The inventory-skew and the adaptive-spread maker: transcripts, and their prices against the formula worked by hand."""

from __future__ import annotations

import math

import pytest

from core.enums import InstrumentClass
from core.errors import ConfigError
from core.instruments import Instrument
from strategies.adaptive_spread_maker import AdaptiveSpreadMaker
from strategies.inventory_skew_maker import InventorySkewMaker
from strategies.volatility import EwmaVolatility
from tests.strategies.scripted import INSTRUMENT, INSTRUMENT_ID, Script

SKEW = {
    "instrument_id": INSTRUMENT_ID,
    "order_qty": "0.010",
    "position_qty_max": "0.050",
    "gamma_per_currency": 20.0,
    "fill_rate_per_s": 1.0,
    "fill_decay_per_price": 2.0,
    "volatility_per_sqrt_s": 0.5,
}
ADAPTIVE = {
    "instrument_id": INSTRUMENT_ID,
    "order_qty": "0.010",
    "position_qty_max": "0.050",
    "half_spread_min": "0.2",
    "samples_min": 2,
}


def skew_maker(**changes: object) -> InventorySkewMaker:
    return InventorySkewMaker(InventorySkewMaker.Params.model_validate({**SKEW, **changes}), [INSTRUMENT])


def adaptive_maker(**changes: object) -> AdaptiveSpreadMaker:
    return AdaptiveSpreadMaker(AdaptiveSpreadMaker.Params.model_validate({**ADAPTIVE, **changes}), [INSTRUMENT])


def test_skew_leans_against_the_inventory() -> None:
    script = Script(skew_maker())
    script.at(1).quote(10000, 10002)
    script.at(2).accept(1)
    script.at(2).accept(2)
    script.at(3).fill(1)  # long .010: both quotes go down
    script.at(4).accept(3)
    script.at(4).replaced(2)
    script.at(5).fill(3)
    script.at(6).accept(4)
    script.at(6).replaced(2)
    script.at(7).fill(2)
    script.at(8).gap()
    script.at(9).accept(5)
    script.at(9).canceled(4)
    script.at(9).canceled(5)
    script.at(10).quote(10000, 10002)
    script.compare("skew_inventory")
    # By hand, with D = .01, gamma = xi = 20, a = 1, k = 2, sigma = .5 and the middle at 1000.1.
    c1 = math.log(1.1) / 0.2
    c2 = math.sqrt(20 / (2 * 1 * 0.01 * 2) * 1.1**11)
    half, skew = c1 + 0.01 * 0.5 * c2 / 2, 0.5 * c2
    assert script.order(1).filled_value == script.order(1).filled_qty * math.floor((1000.1 - half) * 10)
    assert script.order(3).filled_value == script.order(3).filled_qty * math.floor((1000.1 - 0.01 * skew - half) * 10)


def test_skew_with_measured_volatility_waits_for_its_samples() -> None:
    script = Script(skew_maker(volatility_per_sqrt_s=None, samples_min=2))
    script.at(0).quote(10000, 10002)
    script.at(1_000).quote(10004, 10006)
    script.at(2_000).quote(10000, 10002)
    assert [order.side.name for order in script.open_orders()] == ["BUY", "SELL"]
    script.compare("skew_measured")


def test_adaptive_spread_widens_with_the_moves_and_narrows_after() -> None:
    script = Script(adaptive_maker())
    script.at(0).quote(10000, 10002)
    script.at(1_000).quote(10000, 10002)
    script.at(2_000).quote(10001, 10003)
    for number in (1, 2):
        script.at(2_001).accept(number)
    script.at(3_000).quote(10051, 10053)
    script.at(3_001).replaced(2)
    script.at(3_002).replaced(1)
    script.at(3_500).quote(10052, 10054)  # too soon for a sample: the middle moves, the spread stays
    for number in (1, 2):
        script.at(3_501).replaced(number)
    script.at(300_000).quote(10051, 10053)
    script.compare("adaptive_spread")


def test_volatility_of_a_known_series() -> None:
    # Mids 100, 101, 101, 99 at 0, 1, 3, 4 s; within the time constant the mean of squared returns per second.
    volatility = EwmaVolatility(time_constant_s=1e9, interval_ns=1, samples_min=3)
    for second, twice_mid in ((0, 200), (1, 202), (3, 202), (4, 198)):
        assert volatility.per_sqrt_s() is None
        volatility.sample(second * 10**9, twice_mid)
    expected = ((1 / 100) ** 2 + 0 + (2 / 101) ** 2) / 4
    assert volatility.per_sqrt_s() == pytest.approx(math.sqrt(expected), rel=1e-12)


def test_volatility_forgets_with_its_time_constant_and_never_spans_a_gap() -> None:
    volatility = EwmaVolatility(time_constant_s=1.0, interval_ns=10**9, samples_min=1)
    volatility.sample(0, 200)
    volatility.sample(10**9 - 1, 300)  # sooner than the interval: not looked at
    volatility.sample(2 * 10**9, 202)
    assert volatility.per_sqrt_s() == pytest.approx(math.sqrt(0.01**2 / 2))
    volatility.sample(4 * 10**9, 202)  # weight 2 / (2 + 1) of nothing
    assert volatility.per_sqrt_s() == pytest.approx(math.sqrt(0.01**2 / 2 / 3))
    before = volatility.per_sqrt_s()
    volatility.restart_sample()
    volatility.sample(9 * 10**9, 400)
    assert volatility.per_sqrt_s() == before


def test_an_inverse_contract_is_measured_in_its_own_money() -> None:
    """At the price p a contract of 100 USD earns 100 / p^2 of the coin for each point: with gamma in that measure the quotes of a
    linear contract of one come out, flat and long."""
    shape = {"instrument_class": InstrumentClass.PERPETUAL, "base_currency": "BTC", "price_scale": 1, "qty_scale": 0}
    linear = Instrument(instrument_id="LINEAR.X", quote_currency="USDT", settlement_currency="USDT", **shape)
    inverse = Instrument(
        instrument_id="INVERSE.X",
        quote_currency="USD",
        settlement_currency="BTC",
        multiplier=100,
        is_inverse=True,
        **shape,
    )
    scripts = []
    for instrument, gamma in ((linear, 0.02), (inverse, 0.02 / (100 / 50_000.0**2))):
        values = {**SKEW, "instrument_id": instrument.instrument_id, "order_qty": "10", "position_qty_max": "50"}
        params = InventorySkewMaker.Params.model_validate({**values, "gamma_per_currency": gamma})
        script = Script(InventorySkewMaker(params, [instrument]), instrument=instrument)
        script.at(1).quote(499_999, 500_001)
        script.at(2).accept(1)
        script.at(2).accept(2)
        script.at(3).fill(1)
        scripts.append(script)
    assert scripts[0].lines == scripts[1].lines
    # By hand: c1 = .47655, c2 = .037773: half spread .57098, and .18887 lower for the ten held.
    ask, bid = scripts[0].open_orders()
    assert (bid.price, ask.price, ask.replace_price) == (499_992, 500_006, 500_004)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"order_qty": "0.0105"}, "order_qty = '0.0105': '0.0105' has more than 3 decimals"),
        ({"order_qty": "0"}, "order_qty = '0': BTCUSDT-PERP.BINANCE trades whole lots of 0.001, from 0.001 to 1000000000000.000"),
        ({"order_qty": "nan"}, "order_qty = 'nan': 'nan' is not a decimal number"),
        ({"position_qty_max": "-1"}, "position_qty_max = '-1': the largest position must be above 0"),
        ({"half_spread_min": "0"}, "half_spread_min = '0': the distance must be above 0"),
        ({"instrument_id": "ETH.X"}, "instrument_id 'ETH.X' is not configured; configured: BTCUSDT-PERP.BINANCE"),
    ],
)
def test_parameters_that_do_not_fit_the_instrument(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        adaptive_maker(**changes)
    assert str(caught.value) == message


@pytest.mark.parametrize("changes", [{"order_qty": 1.5}, {"levles": 2}, {"spread_multiple": math.nan}, {"horizon_s": 0}])
def test_parameters_that_pydantic_refuses(changes: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="1 validation error"):
        adaptive_maker(**changes)
