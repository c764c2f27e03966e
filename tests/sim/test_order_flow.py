"""Settings of the default market: presets, checks that name the field, and the market's measured behaviour."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

pytest.importorskip("native._native", reason="the C extension is not built")

from core.errors import ConfigError
from daemon.config.text_types import TomlFloat
from native.flow import Flow
from sim.order_flow import (
    OrderFlowSettings,
    RegimeSettings,
    flow_config,
    preset,
    preset_names,
    settings_from_mapping,
)
from tests.native.flow_market import Market
from tests.sim.order_flow_facts import measure

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "MARKET-MODEL.md"

SESSION: dict[str, Any] = {
    "seed": 1,
    "ts_start": 0,
    "ts_end": 10**9,
    "tick": 5,
    "lot": 100,
    "price_min": 5,
    "price_max": 10**6,
    "price_start": 50_000,
}


@pytest.mark.parametrize("name", preset_names())
def test_presets_are_sound_and_accepted_by_the_generator(name: str) -> None:
    settings = preset(name)
    settings.check()
    Flow(flow_config(settings, **SESSION))


def test_settings_survive_a_round_trip_through_a_configuration_file() -> None:
    for name in preset_names():
        table = msgspec.to_builtins(preset(name))
        assert settings_from_mapping(table) == preset(name)
        assert settings_from_mapping({"preset": name}) == preset(name)


def test_a_rate_with_a_fraction_is_taken_from_a_configuration() -> None:
    # A configuration's floats remember their text, in tables inside tables too.
    rate = TomlFloat("22.5")
    regimes = [{"name": "one", "duration_s": TomlFloat("9.5"), "volatility_ticks": TomlFloat("1.5")}]
    found = settings_from_mapping({"limit_hz": rate, "regimes": regimes, "regime_start": "one"})
    assert (found.limit_hz, type(found.limit_hz), found.regimes[0].duration_s) == (22.5, float, 9.5)


def test_overrides_are_laid_over_the_preset() -> None:
    changed = settings_from_mapping({"preset": "volatile", "market_hz": 2, "levels": 10})
    assert changed == msgspec.structs.replace(preset("volatile"), market_hz=2.0, levels=10)
    assert settings_from_mapping({}) == preset("normal")


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"preset": "volatle"}, "no preset 'volatle'; did you mean 'volatile'?"),
        ({"preset": "x"}, "no preset 'x'; known: calm, normal, volatile, cont_stoikov_talreja"),
        ({"markt_hz": 1.0}, "unknown key 'markt_hz'; did you mean 'market_hz'?"),
        ({"regimes": [{"nam": "calm"}]}, "unknown key 'regimes.nam'; did you mean 'name'?"),
        ({"regimes": [1]}, "Expected `object`, got `int` - at `$.regimes[0]`"),
        ({"market_hz": "fast"}, r"Expected `float`, got `str` - at `$.market_hz`"),
        ({"market_hz": float("nan")}, "market_hz is nan; it must be a rate from 0 to 1000000"),
        ({"limit_hz": float("inf")}, "limit_hz is inf; it must be a rate from 0 to 1000000"),
        ({"cancel_hz": -0.1}, "cancel_hz is -0.1; it must be a rate from 0 to 1000000"),
        ({"join_probability": 1.5}, "join_probability is 1.5; it must be from 0 to 1"),
        ({"levels": 65}, "levels is 65; it must be from 1 to 64"),
        ({"limit_hz_by_distance": (1.0,)}, "limit_hz_by_distance is 1; it must be empty or `levels` (30) rates"),
        ({"parent_alpha": 1.0}, "parent_alpha is 1.0; it must be above 1"),
        ({"orders_max": 100}, "orders_max is 100; it must be at least the 150 orders of the snapshot"),
        ({"regime_start": "calmer"}, "regime_start names 'calmer', which is not a regime; did you mean 'calm'?"),
        ({"regimes": ()}, "regimes is 0; it must be 1 to 4 of them"),
        ({"fair_hz": 0.0}, "fair_hz is 0.0; it must be positive where a regime has volatility"),
        ({"informed_scale_ticks": 0.0}, "informed_scale_ticks is 0.0; it must be positive"),
        ({"limit_size_median": 1e9}, "limit_size_median is 1000000000.0; it must be from 1 to size_max_lots"),
    ],
)
def test_a_wrong_value_is_named(table: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        settings_from_mapping(table)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"duration_s": 0.0}, "regimes.calm.duration_s is 0.0; it must be positive"),
        ({"volatility_ticks": -1.0}, "regimes.calm.volatility_ticks is -1.0; it must be from 0 to 1000000"),
        ({"limit_factor": 1e4}, "regimes.calm.limit_factor is 10000.0; it must be from 0 to 1000"),
        ({"next": {"normal": 0.5}}, "regimes.calm.next is 0.5; it must be probabilities that sum to 1"),
        ({"next": {"calm": 1.0}}, "regimes.calm.next is 'calm'; it must be other regimes only"),
        ({"next": {"normall": 1.0}}, "regimes.calm.next names 'normall', which is not a regime; did you mean 'normal'?"),
        ({"name": "normal"}, "distinct names"),
    ],
)
def test_a_wrong_regime_is_named(changes: dict[str, Any], message: str) -> None:
    first, *others = preset("normal").regimes
    regimes = (msgspec.structs.replace(first, **changes), *others)
    with pytest.raises(ConfigError, match=re.escape(message)):
        msgspec.structs.replace(preset("normal"), regimes=regimes).check()


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"seed": -1}, "seed"),
        ({"seed": 1 << 64}, "seed"),
        ({"ts_end": 0}, "ts_end"),
        ({"tick": 0}, "tick"),
        ({"price_start": 50_001}, "price_start"),
        ({"price_start": 5}, "price_start"),
        ({"order_id_first": 1 << 62}, "order_id_first"),
        ({"feed_latency_ns": -1}, "feed_latency_ns"),
    ],
)
def test_a_wrong_session_is_named(changes: dict[str, Any], field: str) -> None:
    with pytest.raises(ConfigError, match=f"order flow: {field} is"):
        flow_config(preset("normal"), **{**SESSION, **changes})


def test_every_setting_is_explained_in_the_document() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    missing = [
        field
        for struct in (OrderFlowSettings, RegimeSettings)
        for field in struct.__struct_fields__
        if not re.search(rf"`{field}`", text)
    ]
    assert missing == []


# Bands around the figures of docs/MARKET-MODEL.md, wide enough for 6,000 s of one seed.
@pytest.mark.parametrize("name", ["calm", "normal", "volatile"])
def test_stylised_facts(name: str) -> None:
    seconds = 6000
    facts = measure(Market(name, seed=3, seconds=seconds + 1), ["calm", "normal", "volatile"], seconds)
    assert facts.empty_samples == 0
    assert facts.crossed_samples == 0
    assert 50 < facts.rows_hz < 150
    assert 1.0 < facts.market_orders_hz < 7.0
    assert 0.08 < facts.informed_share < 0.45
    assert facts.kurtosis[1] > 4.0  # fat tails at one second
    assert facts.absolute_autocorrelation[1] > (0.02 if name == "calm" else 0.1)  # volatility clusters, where regimes change
    assert abs(facts.return_autocorrelation) < 0.15  # and returns are hardly predictable
    assert facts.sign_autocorrelation[1] > 0.05  # order signs have memory,
    assert 0.0 < facts.sign_autocorrelation[10] < facts.sign_autocorrelation[1]  # that fades
    settings = {regime.name: regime for regime in preset(name).regimes}
    main = facts.regimes[name]
    assert main.volatility_ticks == pytest.approx(settings[name].volatility_ticks, rel=0.2)
    assert main.mid_to_fair_ticks < main.spread_ticks
    low, high = {"calm": (1.4, 1.8), "normal": (1.6, 2.1), "volatile": (2.6, 3.4)}[name]
    assert low < main.spread_ticks < high
    assert 10 < main.best_lots < 60
    assert main.five_levels_lots > 2 * main.best_lots
