"""Configuration: numbers arrive exactly, mistakes are named with file, path and fix, and what is shown can be loaded."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.enums import InstrumentClass
from core.errors import CapacityError, ConfigError
from core.instruments import Instrument
from core.risk import InstrumentLimits, RateLimit
from daemon.config.build import build_cash, build_instruments, build_limits, build_rate, resolve_path
from daemon.config.effective import config_digest, effective
from daemon.config.loader import apply_override, load_config
from daemon.config.models import RunConfig
from daemon.config.show import to_toml
from daemon.wiring import wire_backtest
from sim.bar_tape import BarTape
from tests.daemon.session import CONFIG, ROOT, write_config

SHIPPED = sorted((ROOT / "config").glob("*.toml"))


def problem(folder: Path, *overrides: str, text: str = CONFIG) -> str:
    """What is wrong, without the file's name."""
    path = write_config(folder, text)
    with pytest.raises(ConfigError) as caught:
        wire_backtest(load_config(path, overrides))
    return str(caught.value).removeprefix(f"{path}: ")


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_every_shipped_configuration_is_good(path: Path) -> None:
    loaded = load_config(path)
    instruments = build_instruments(loaded)
    assert set(build_limits(loaded, instruments)) == {instrument.instrument_id for instrument in instruments}


def test_values_arrive_exactly(tmp_path: Path) -> None:
    loaded = load_config(
        write_config(tmp_path), ["risk.price_collar=0.05%", "risk.order_notional_max=0.1", "risk.market_age_max=1.5s"]
    )
    instruments = build_instruments(loaded)
    assert instruments == [
        Instrument(
            instrument_id="ACME.SIM",
            instrument_class=InstrumentClass.EQUITY,
            base_currency="ACME",
            quote_currency="USD",
            settlement_currency="USD",
            price_scale=2,
            qty_scale=0,
            price_max=1_000_000,
            maker_fee_rate=-20_000,
            taker_fee_rate=30_000,
        )
    ]
    assert build_cash(loaded) == {"USD": 10_000_000_000_000}
    assert build_rate(loaded.config.risk) == RateLimit(orders_max=100, window_ns=10**9)
    assert build_limits(loaded, instruments) == {
        "ACME.SIM": InstrumentLimits(
            order_qty_max=50,
            order_notional_max=10_000_000,
            position_qty_max=200,
            price_collar_ppm=500,
            market_age_ns_max=1_500_000_000,
        )
    }


def test_limits_of_one_instrument_come_before_the_general_ones(tmp_path: Path) -> None:
    loaded = load_config(write_config(tmp_path), ['risk.instruments."ACME.SIM".order_qty_max=7'])
    limits = build_limits(loaded, build_instruments(loaded))["ACME.SIM"]
    assert (limits.order_qty_max, limits.position_qty_max) == (7, 200)


def test_a_toml_float_is_the_decimal_that_was_typed(tmp_path: Path) -> None:
    text = CONFIG.replace('USD = "100000"', "USD = 0.1")
    assert build_cash(load_config(write_config(tmp_path, text))) == {"USD": 10_000_000}


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("risk.order_qty_maxx=3", "unknown key risk.order_qty_maxx; did you mean risk.order_qty_max?"),
        ("order_qty_max=3", "unknown key order_qty_max; did you mean risk.order_qty_max?"),
        ("venue.latncy=1", "unknown key venue.latncy; did you mean venue.latency?"),
        ("venue.latency.entri=1", "unknown key venue.latency.entri; did you mean venue.latency.entry?"),
        ("data.0.duratoin=5m", "unknown key data[0].duratoin; did you mean data[0].duration?"),
        (
            'risk.instruments."ACME.SIM".order_qty_mx=3',
            'unknown key risk.instruments."ACME.SIM".order_qty_mx; did you mean risk.instruments."ACME.SIM".order_qty_max?',
        ),
        (
            "run.zzz=1",
            "unknown key run.zzz; the keys here are name, mode, seed, pace, journal, runs_folder",
        ),
        (
            "strategies.maker.params.levls=2",
            "unknown key strategies[0].params.levls; did you mean strategies[0].params.levels?",
        ),
        (
            "strategies.maker.class=symetric_maker",
            "strategies[0].class: there is no strategy 'symetric_maker'; did you mean 'symmetric_maker'?; known: "
            "adaptive_spread_maker, inventory_skew_maker, sma_cross, symmetric_maker, zscore_momentum; or write module:Class",
        ),
        ("risk.order_qty_max=nan", "risk.order_qty_max: nan is not a finite number"),
        ("risk.order_qty_max=-inf", "risk.order_qty_max: -inf is not a finite number"),
        ("strategies.maker.params.x=nan", "strategies[0].params.x: nan is not a finite number"),
        ("risk.order_qty_max=-1", "risk.order_qty_max: -1 must not be negative"),
        ("risk.order_qty_max=0", "risk.order_qty_max: 0 must be above 0"),
        ("risk.order_qty_max=1O", "risk.order_qty_max: '1O' is not a decimal number; write for example '0.5'"),
        ("risk.order_qty_max=true", "risk.order_qty_max: True is not a decimal number; write it as text, for example '0.5'"),
        ("risk.order_qty_max=0.5", "risk.order_qty_max: '0.5' has more than 0 decimals"),
        ("risk.price_collar=5", "risk.price_collar: '5' is not a percentage; write for example '5%'"),
        (
            "risk.orders_window=10",
            "risk.orders_window: '10' is not a duration; write for example 250us, 10ms, 1.5s, 5m, 2h or 1d",
        ),
        ("run.seed=1.5", "run.seed: input should be a valid integer, not 1.5"),
        ("run.seed=-1", "run.seed: input should be greater than or equal to 0, not -1"),
        (
            "data.0.format=flw",
            "data[0].format: 'flw' is not one of 'flow', 'lobster', 'binance', 'bars', 'trades', 'quotes'; did you mean 'flow'?",
        ),
        ("data.0.start=soon", "data[0].start: 'soon' is not a date-time; write for example 2026-01-05T14:30:00Z"),
        ("data.0.price_start=100.001", "data[0]: '100.001' has more than 2 decimals"),
        ("data.0.market.presett=1", "data[0]: order flow: unknown key 'presett'"),
        ("data.0.instrument_id=FOO.SIM", "data[0].instrument_id: FOO.SIM is not configured; configured: ACME.SIM"),
        ("venue.fidelity=l3", "venue.fidelity: 'l3' cannot play data[0], which is 'flow'; use 'flow'"),
        ("venue.latency={entry='1ms'}", "venue.latency.model: this key is missing"),
        ("strategies.maker.params.order_qty=0.5", "strategies[0].params: order_qty = '0.5': '0.5' has more than 0 decimals"),
        ('risk.instruments."FOO.SIM".order_qty_max=1', 'risk.instruments."FOO.SIM": no such instrument; configured: ACME.SIM'),
        ("instruments.inline.0.tick=0.001", "ACME.SIM.tick: '0.001' has more than 2 decimals"),
        (
            "instruments.inline.0.maker_fee=lots",
            "instruments.inline[0].maker_fee: 'lots' is not a decimal number; write a fee as '0.02%', '2bp' or '0.0002', "
            "a rebate as '-0.01%'",
        ),
    ],
)
def test_a_wrong_value_is_named_with_its_path_and_the_fix(tmp_path: Path, override: str, message: str) -> None:
    assert problem(tmp_path, override) == message


def test_a_missing_limit_and_a_missing_key(tmp_path: Path) -> None:
    text = CONFIG.replace('price_collar = "2%"\n', "")
    assert problem(tmp_path, text=text) == "risk.price_collar: this limit is missing; without it no order of ACME.SIM may be sent"
    text = CONFIG.replace('name = "session"\n', "")
    assert problem(tmp_path, text=text) == "run.name: this key is missing (what the run is called; part of its run_id)"


def test_every_mistake_is_told_at_once(tmp_path: Path) -> None:
    path = write_config(tmp_path)
    assert problem(tmp_path, "run.sed=1", "risk.orders_max=0") == (
        f"unknown key run.sed; did you mean run.seed?\n{path}: risk.orders_max: input should be greater than or equal to 1, not 0"
    )


def test_no_toml_no_file_no_text(tmp_path: Path) -> None:
    assert problem(tmp_path, text="[run\nname = 1").startswith("is not valid TOML: ")
    with pytest.raises(ConfigError, match=r"nowhere\.toml: there is no such file"):
        load_config(tmp_path / "nowhere.toml")
    (tmp_path / "binary.toml").write_bytes(b"name = \xff")
    with pytest.raises(ConfigError, match="is not UTF-8 text: byte 7"):
        load_config(tmp_path / "binary.toml")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("risk.order_qty_max", "--set risk.order_qty_max: write it as key=value, for example --set risk.order_qty_max=10"),
        ("strategies.7.id=x", "--set strategies.7.id=x: there is no item '7'; use a number from 0 to 0, or its id"),
        ("run.name.x=1", "--set run.name.x=1: run.name is a value, it has no keys"),
        ("a b=1", "--set a b=1: 'a b' is not a key; quote parts with dots: risk.instruments.\"A.B\".x"),
    ],
)
def test_an_override_that_cannot_be(tmp_path: Path, override: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(write_config(tmp_path), [override])
    assert str(caught.value) == message


def test_overrides_reach_tables_lists_and_ids() -> None:
    table: dict[str, Any] = tomllib.loads('[[s]]\nid = "a"\n[[s]]\nid = "b"\n[t]\nx = 1')
    for override in ("s.1.v=2.50", "s.a.w=text", 't."q.r"=[1, 2]', "u.v.w=true"):
        apply_override(table, override)
    assert table == {
        "s": [{"id": "a", "w": "text"}, {"id": "b", "v": 2.5}],
        "t": {"x": 1, "q.r": [1, 2]},
        "u": {"v": {"w": True}},
    }


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_what_is_shown_can_be_loaded_and_means_the_same(path: Path, tmp_path: Path) -> None:
    first = load_config(path)
    second = load_config(write_config(tmp_path, to_toml(effective(first))))
    assert effective(second) == effective(first)
    assert config_digest(second) == config_digest(first)


def test_the_digest_leaves_out_what_does_not_change_the_result(tmp_path: Path) -> None:
    path = write_config(tmp_path)
    digest = config_digest(load_config(path))
    assert (
        config_digest(load_config(path, ["run.pace=10x", "run.runs_folder=elsewhere", "report.progress_interval=1s"])) == digest
    )
    assert config_digest(load_config(path, ["strategies.maker.params.levels=1"])) == digest  # the default, written out
    assert config_digest(load_config(path, ["run.seed=4"])) != digest


@given(
    st.recursive(
        st.text() | st.integers(-(2**60), 2**60) | st.booleans(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(min_size=1), inner, max_size=3),
        max_leaves=12,
    )
)
def test_to_toml_writes_what_tomllib_reads(value: Any) -> None:
    assert tomllib.loads(to_toml({"key": value, "other": 1})) == {"key": value, "other": 1}


def test_paths_start_at_the_file_and_know_variables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = load_config(write_config(tmp_path))
    (tmp_path / "rows.csv").touch()
    monkeypatch.setenv("PLACE", str(tmp_path))
    assert resolve_path(loaded, "rows.csv", "x") == tmp_path / "rows.csv"
    assert resolve_path(loaded, "${PLACE}/rows.csv", "x") == tmp_path / "rows.csv"
    monkeypatch.delenv("PLACE")
    with pytest.raises(ConfigError, match=r"x: the environment variable PLACE is not set; it is part of '\$\{PLACE\}/rows.csv'"):
        resolve_path(loaded, "${PLACE}/rows.csv", "x")
    with pytest.raises(ConfigError, match="x: there is no file"):
        resolve_path(loaded, "absent.csv", "x")


def test_included_instruments_know_variables_and_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before, _, rest = CONFIG.partition("[[instruments.inline]]")
    table, following, after = rest.partition("\n[")
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "acme.toml").write_text(table, encoding="utf-8")
    monkeypatch.setenv("PLACE", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path / "own"))
    for name in ("own/acme.toml", "${PLACE}/own/acme.toml", "~/acme.toml"):
        text = f'{before}[instruments]\ninclude = ["{name}"]\n{following}{after}'
        assert [each.instrument_id for each in load_config(write_config(tmp_path, text)).instruments] == ["ACME.SIM"]
    monkeypatch.delenv("PLACE")
    missing = f'{before}[instruments]\ninclude = ["${{PLACE}}/acme.toml"]\n{following}{after}'
    with pytest.raises(ConfigError, match=r"instruments.include\[0\]: the environment variable PLACE is not set"):
        load_config(write_config(tmp_path, missing))


@pytest.mark.parametrize("key", ["entry_sigma", "response_sigma"])
def test_a_sigma_beyond_the_models_range_is_refused(tmp_path: Path, key: str) -> None:
    load_config(write_config(tmp_path), [f"venue.latency.{key}=10"])
    for value in ("100000", "10.01"):
        assert problem(tmp_path, f"venue.latency.{key}={value}") == f"venue.latency.{key}: {value} must be from 0 to 10"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("self_trade_prevention", "decrement"),
        ("rejects_per_million", 5),
        ("post_only", "slide"),
        ("orders_max", 7),
        ("timers_max", 7),
    ],
)
def test_bars_heed_both_latencies_and_refuse_keys_they_do_not_heed(tmp_path: Path, key: str, value: str | int) -> None:
    data = '[[data]]\nformat = "bars"\ninstrument_id = "ACME.SIM"\nfile = "bars.csv"\ninterval = "1m"\n'
    (tmp_path / "bars.csv").write_text("ts_event,open,high,low,close\n2026-01-05T14:30:00Z,5,5,5,5\n", encoding="ascii")
    before, _, rest = CONFIG.partition("[[data]]")
    text = before + data + '[venue]\nfidelity = "bars"\n' + rest[rest.index("\n[risk]") :]
    venue = wire_backtest(load_config(write_config(tmp_path, text))).venue
    assert isinstance(venue, BarTape)
    assert (venue.inner.rules.latency_ns, venue.inner.rules.response_ns) == (1_000_000, 1_000_000)
    assert problem(tmp_path, f"venue.{key}={value}", text=text) == (
        f"venue.{key}: the bar venue has no such choice; leave it out with fidelity 'bars'"
    )


@pytest.mark.parametrize(
    ("override", "keys"),
    [
        ("venue.book_orders_max=100", "venue.book_orders_max or venue.levels_max"),
        ("venue.levels_max=2", "venue.book_orders_max or venue.levels_max"),
    ],
)
def test_a_full_book_names_keys_that_can_be_set(tmp_path: Path, override: str, keys: str) -> None:
    with pytest.raises(CapacityError, match=f"is full: raise {keys}$"):
        wire_backtest(load_config(write_config(tmp_path), [override]))


def test_every_key_has_a_description_in_the_schema() -> None:
    schema = RunConfig.model_json_schema(by_alias=True)
    assert schema["additionalProperties"] is False
    assert schema["$defs"]["Risk"]["properties"]["orders_max"]["description"].startswith("new or replaced orders")


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("#x=1", "--set #x=1: '#x' is not a key"),
        ("a\nb.c=1", "--set a\nb.c=1: 'a\\nb.c' is not a key"),
        (f"{'a.' * 3000}b=1", "is not a key"),
        (f"risk.orders_max={'9' * 5000}", "risk.orders_max: input should be a valid integer"),
        (f"risk.orders_max={'9' * 40}", "risk.orders_max: input should be less than or equal to 1048576"),
        (f"risk.orders_max={'[' * 5000}", "risk.orders_max: input should be a valid integer"),
        ("run.pace=0x", "run.pace: '0x' must be above 0"),
        ("run.pace=0.000x", "run.pace: '0.000x' must be above 0"),
        ('run.runs_folder="a\\u0000b"', "run.runs_folder: string should match pattern"),
        ('instruments.include=["a\\u0000b"]', "instruments.include[0]: string should match pattern"),
    ],
    ids=lambda text: text[:24],
)
def test_what_nobody_would_type_is_a_named_mistake_too(tmp_path: Path, override: str, expected: str) -> None:
    assert expected in problem(tmp_path, override)


def test_a_byte_order_mark_and_windows_line_endings_change_nothing(tmp_path: Path) -> None:
    plain = load_config(write_config(tmp_path))
    assert load_config(write_config(tmp_path, "\ufeff" + CONFIG.replace("\n", "\r\n"))) == plain


def test_endless_nesting_and_endless_numbers_in_a_file_are_named(tmp_path: Path) -> None:
    assert problem(tmp_path, text="x = " + "[" * 5000) == "is not valid TOML: tables or lists are nested too deeply"
    assert "is not valid TOML: Exceeds the limit" in problem(tmp_path, text="x = " + "9" * 5000)


def test_a_zone_that_does_not_exist_is_named_with_the_closest_one(tmp_path: Path) -> None:
    table = '{format="trades", instrument_id="ACME.SIM", file="t.csv", zone="Europe/Berlim"}'
    expected = "data[0].zone: 'Europe/Berlim' is no zone of the tz database; did you mean 'Europe/Berlin'?"
    assert expected in problem(tmp_path, f"data.0={table}", "venue.fidelity=l2")


def test_a_data_file_with_an_impossible_name_is_absent(tmp_path: Path) -> None:
    name = "a" * 300
    table = f'{{format="trades", instrument_id="ACME.SIM", file="{name}"}}'
    assert problem(tmp_path, f"data.0={table}", "venue.fidelity=l2") == f"data[0].file: there is no file {tmp_path / name}"


@pytest.mark.parametrize("choice", ["rejects_per_million=5", "post_only=slide"])
def test_a_choice_that_bars_would_ignore_is_refused(tmp_path: Path, choice: str) -> None:
    table = '{format="bars", instrument_id="ACME.SIM", file="b.csv", interval="1m"}'
    expected = f"venue.{choice.partition('=')[0]}: the bar venue has no such choice; leave it out with fidelity 'bars'"
    assert problem(tmp_path, f"data.0={table}", "venue.fidelity=bars", f"venue.{choice}") == expected
