"""Settings of the embedded default market: documented fields, presets, checks, and their translation to the C generator.

The model, its sources and its measured behaviour are in docs/MARKET-MODEL.md. Settings are in ticks, lots and seconds; the
instrument and the session supply the units. Rates and probabilities are floats because they are signals: prices and
quantities come out of the generator as integers.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping
from typing import Any

import msgspec

from core.errors import ConfigError

LEVELS_MAX = 64
REGIMES_MAX = 4
PARENTS_MAX = 64
ORDER_ID_LIMIT = 1 << 62
RATE_HZ_MAX = 1e6  # beyond a million events a second the clock would hardly move between two looks at it
FACTOR_MAX = 1e3


class RegimeSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One state of the market. Factors multiply the base rates of OrderFlowSettings while it lasts."""

    name: str
    duration_s: float = 0.0  # mean stay; unused where there is only one regime
    volatility_ticks: float = 0.0  # of the fair value, ticks per square root of a second
    limit_factor: float = 1.0
    market_factor: float = 1.0  # uninformed and informed market orders
    cancel_factor: float = 1.0
    edge_ticks: float = 0.0  # informed limit orders keep at least this far from the fair value
    next: dict[str, float] = msgspec.field(default_factory=dict)  # name of the following regime -> probability


class OrderFlowSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One market. `check()` raises ConfigError naming the field; `preset(name)` gives a ready one."""

    regimes: tuple[RegimeSettings, ...]
    regime_start: str = ""  # "": the first one

    # Limit orders. Distance 1 is the closest price to the opposite best that cannot trade.
    levels: int = 30  # distances that limit orders are drawn from
    limit_hz: float = 22.0  # limit orders of one side, per second, shared out over the distances
    distance_exponent: float = 1.1  # in proportion to distance ** -exponent
    limit_hz_by_distance: tuple[float, ...] = ()  # instead of the power law: `levels` rates
    join_probability: float = 0.3  # placed at the own side's best quote instead of the drawn distance
    limit_informed: float = 0.95  # share that keeps edge_ticks from the fair value
    anchor_fair: bool = False  # count distance from the fair value, not from the opposite best

    # Cancellations, per live order and second.
    cancel_hz: float = 0.22  # at distance 1
    cancel_far_factor: float = 1.5  # times as fast at the last distance and beyond; in between on a straight line
    cancel_hz_by_distance: tuple[float, ...] = ()  # instead of the line: `levels` rates
    cancel_adverse: float = 0.5  # sped up by 1 + this * imbalance against the order's side
    stale_hz: float = 25.0  # extra rate of each order priced through the fair value
    reduce_probability: float = 0.08  # only a part of the order is cancelled

    # Market orders.
    market_hz: float = 1.0  # uninformed, of one side, per second
    market_imbalance: float = 0.5  # how far they follow the queue imbalance, 0 to 1
    informed_hz: float = 14.0  # per second, while the fair value is far outside the quotes
    informed_scale_ticks: float = 1.0  # "far": at this distance and beyond the full rate
    impact_ticks: float = 0.4  # the surprise in an uninformed market order's sign moves the fair value so far, for good
    sweep_probability: float = 0.25  # may take more than the best level shows; otherwise cut to it
    protection_ticks: int = 10  # limit price of a market order, so far through the best quote
    parents: int = 5  # parent orders that uninformed market orders are slices of; 0: independent signs
    parent_alpha: float = 1.5  # tail exponent of the number of slices

    # Sizes, in lots, log-normal.
    limit_size_median: float = 2.0
    limit_size_sigma: float = 0.9
    market_size_median: float = 4.0
    market_size_sigma: float = 1.0
    size_max_lots: int = 500
    round_probability: float = 0.3  # rounded to a multiple of round_lots, where it is at least half of that
    round_lots: int = 10

    fair_hz: float = 8.0  # moves of the fair value per second
    orders_max: int = 16_384  # live orders of the generator: memory, and a limit that is an error
    snapshot_levels: int = 15  # initial book: prices on each side,
    snapshot_bid_orders: int = 5  # and orders at each of them
    snapshot_ask_orders: int = 5

    def check(self) -> None:
        """ConfigError naming the first field that is out of its range, with the value."""
        for name in ("limit_hz", "cancel_hz", "market_hz", "informed_hz", "stale_hz", "fair_hz"):
            _require(0 <= getattr(self, name) <= RATE_HZ_MAX, name, getattr(self, name), f"a rate from 0 to {RATE_HZ_MAX:.0f}")
        for name in ("distance_exponent", "cancel_adverse"):
            _require(0 <= getattr(self, name) <= 100, name, getattr(self, name), "from 0 to 100")
        for name in (
            "join_probability",
            "limit_informed",
            "reduce_probability",
            "market_imbalance",
            "sweep_probability",
            "round_probability",
        ):
            _require(0 <= getattr(self, name) <= 1, name, getattr(self, name), "from 0 to 1")
        for name in ("limit_size_median", "market_size_median"):
            _require(1 <= getattr(self, name) <= self.size_max_lots, name, getattr(self, name), "from 1 to size_max_lots")
        for name in ("limit_size_sigma", "market_size_sigma"):
            _require(0 <= getattr(self, name) <= 10, name, getattr(self, name), "from 0 to 10")
        _require(0 <= self.impact_ticks <= 1e6, "impact_ticks", self.impact_ticks, "from 0 to 1000000")
        _require(0 < self.informed_scale_ticks <= 1e12, "informed_scale_ticks", self.informed_scale_ticks, "positive")
        _require(0 < self.cancel_far_factor <= 1e3, "cancel_far_factor", self.cancel_far_factor, "above 0, at most 1000")
        _require(1 <= self.levels <= LEVELS_MAX, "levels", self.levels, f"from 1 to {LEVELS_MAX}")
        _require(0 <= self.parents <= PARENTS_MAX, "parents", self.parents, f"from 0 to {PARENTS_MAX}")
        _require(self.parents == 0 or 1 < self.parent_alpha <= 1e3, "parent_alpha", self.parent_alpha, "above 1")
        _require(0 <= self.protection_ticks <= 1 << 31, "protection_ticks", self.protection_ticks, "not negative")
        for name in ("size_max_lots", "round_lots", "orders_max"):
            _require(1 <= getattr(self, name) < 1 << 31, name, getattr(self, name), "positive, below 2^31")
        for name in ("snapshot_levels", "snapshot_bid_orders", "snapshot_ask_orders"):
            _require(0 <= getattr(self, name) <= 1 << 20, name, getattr(self, name), "not negative")
        snapshot = self.snapshot_levels * (self.snapshot_bid_orders + self.snapshot_ask_orders)
        _require(snapshot <= self.orders_max, "orders_max", self.orders_max, f"at least the {snapshot} orders of the snapshot")
        for name in ("limit_hz_by_distance", "cancel_hz_by_distance"):
            rates = getattr(self, name)
            _require(len(rates) in (0, self.levels), name, len(rates), f"empty or `levels` ({self.levels}) rates")
            for rate in rates:
                _require(0 <= rate <= RATE_HZ_MAX, name, rate, f"rates from 0 to {RATE_HZ_MAX:.0f}")
        self._check_regimes()

    def _check_regimes(self) -> None:
        names = [regime.name for regime in self.regimes]
        _require(1 <= len(names) <= REGIMES_MAX, "regimes", len(names), f"1 to {REGIMES_MAX} of them")
        _require(len(set(names)) == len(names), "regimes", names, "distinct names")
        if self.regime_start:
            _require_known(self.regime_start, names, "regime_start")
        for regime in self.regimes:
            where = f"regimes.{regime.name}."
            for name in ("volatility_ticks", "edge_ticks"):
                value = getattr(regime, name)
                _require(0 <= value <= 1e6, where + name, value, "from 0 to 1000000")
            for name in ("limit_factor", "market_factor", "cancel_factor"):
                value = getattr(regime, name)
                _require(0 <= value <= FACTOR_MAX, where + name, value, f"from 0 to {FACTOR_MAX:.0f}")
            _require(
                regime.volatility_ticks == 0 or self.fair_hz > 0,
                "fair_hz",
                self.fair_hz,
                "positive where a regime has volatility",
            )
            if len(names) == 1:
                continue
            _require(0 < regime.duration_s <= 1e9, where + "duration_s", regime.duration_s, "positive")
            for name, probability in regime.next.items():
                _require_known(name, names, where + "next")
                _require(name != regime.name, where + "next", name, "other regimes only")
                _require(0 <= probability <= 1, where + f"next.{name}", probability, "a probability")
            total = math.fsum(regime.next.values())
            _require(abs(total - 1) < 1e-9, where + "next", total, "probabilities that sum to 1")


def _require(ok: bool, name: str, value: object, rule: str) -> None:
    # NaN compares false with everything, so it never passes.
    if not ok:
        raise ConfigError(f"order flow: {name} is {value!r}; it must be {rule}")


def _require_known(name: str, known: list[str], where: str) -> None:
    if name not in known:
        close = difflib.get_close_matches(name, known, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else f"; known: {', '.join(known)}"
        raise ConfigError(f"order flow: {where} names {name!r}, which is not a regime{hint}")


def _require_keys(table: Mapping[str, Any], fields: tuple[str, ...], where: str) -> None:
    for key in table:
        if key not in fields:
            close = difflib.get_close_matches(key, fields, n=1)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            raise ConfigError(f"order flow: unknown key {where + str(key)!r}{hint}")


def settings_from_mapping(values: Mapping[str, Any]) -> OrderFlowSettings:
    """Settings from a configuration table: `preset` picks the base (default "normal"), every other key overrides a field.

    ConfigError names an unknown key with the closest right one, a value of the wrong type, or a value out of range.
    """
    changes = dict(values)
    base = preset(changes.pop("preset", "normal"))
    _require_keys(changes, OrderFlowSettings.__struct_fields__, "")
    regimes = changes.get("regimes", ())
    for regime in regimes if isinstance(regimes, (list, tuple)) else ():
        _require_keys(regime if isinstance(regime, Mapping) else {}, RegimeSettings.__struct_fields__, "regimes.")
    merged = {**msgspec.to_builtins(base), **_plain(changes)}
    try:
        settings = msgspec.convert(merged, OrderFlowSettings)
    except msgspec.ValidationError as error:
        raise ConfigError(f"order flow: {error}") from error
    settings.check()
    return settings


def _plain(value: Any) -> Any:
    """Floats as plain ones: a configuration's remember their text, and a subclass is none to msgspec."""
    if isinstance(value, float):
        return float(value)
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, (list, tuple)) else value


def _three_regimes(calm_s: float, normal_s: float, volatile_s: float) -> tuple[RegimeSettings, ...]:
    return (
        RegimeSettings(
            name="calm",
            duration_s=calm_s,
            volatility_ticks=0.7,
            limit_factor=0.7,
            market_factor=0.6,
            cancel_factor=0.8,
            edge_ticks=0.4,
            next={"normal": 0.9, "volatile": 0.1},
        ),
        RegimeSettings(
            name="normal", duration_s=normal_s, volatility_ticks=1.4, edge_ticks=0.6, next={"calm": 0.65, "volatile": 0.35}
        ),
        RegimeSettings(
            name="volatile",
            duration_s=volatile_s,
            volatility_ticks=4.0,
            limit_factor=1.6,
            market_factor=2.2,
            cancel_factor=1.8,
            edge_ticks=1.3,
            next={"calm": 0.1, "normal": 0.9},
        ),
    )


# Every market visits all three regimes; presets differ in where they start and how long they stay.
_PRESETS = {
    "calm": OrderFlowSettings(regimes=_three_regimes(600.0, 60.0, 10.0), regime_start="calm"),
    "normal": OrderFlowSettings(regimes=_three_regimes(120.0, 180.0, 45.0), regime_start="normal"),
    "volatile": OrderFlowSettings(regimes=_three_regimes(20.0, 60.0, 240.0), regime_start="volatile"),
    # Cont, Stoikov and Talreja 2010, table of rates by distance; unit sizes, no fair value.
    "cont_stoikov_talreja": OrderFlowSettings(
        regimes=(RegimeSettings(name="only"),),
        levels=5,
        limit_hz_by_distance=(1.85, 1.51, 1.09, 0.88, 0.77),
        cancel_hz_by_distance=(0.71, 0.81, 0.68, 0.56, 0.47),
        join_probability=0.0,
        limit_informed=0.0,
        cancel_adverse=0.0,
        stale_hz=0.0,
        reduce_probability=0.0,
        market_hz=0.94,
        market_imbalance=0.0,
        impact_ticks=0.0,
        informed_hz=0.0,
        protection_ticks=0,
        parents=0,
        limit_size_median=1.0,
        limit_size_sigma=0.0,
        market_size_median=1.0,
        market_size_sigma=0.0,
        round_probability=0.0,
        fair_hz=0.0,
        snapshot_levels=5,
        snapshot_bid_orders=3,
        snapshot_ask_orders=3,
    ),
}


def preset_names() -> tuple[str, ...]:
    return tuple(_PRESETS)


def preset(name: str) -> OrderFlowSettings:
    """The settings called `name`; ConfigError names the closest one where there is none."""
    if name not in _PRESETS:
        close = difflib.get_close_matches(str(name), _PRESETS, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else f"; known: {', '.join(_PRESETS)}"
        raise ConfigError(f"order flow: no preset {name!r}{hint}")
    return _PRESETS[name]


# Settings that the C generator knows by the same name and in the same unit.
_SAME_IN_NATIVE = (
    "join_probability",
    "limit_informed",
    "cancel_adverse",
    "stale_hz",
    "reduce_probability",
    "market_hz",
    "market_imbalance",
    "informed_hz",
    "informed_scale_ticks",
    "impact_ticks",
    "sweep_probability",
    "protection_ticks",
    "parent_alpha",
    "limit_size_median",
    "limit_size_sigma",
    "market_size_median",
    "market_size_sigma",
    "size_max_lots",
    "round_probability",
    "round_lots",
    "fair_hz",
    "orders_max",
    "snapshot_levels",
    "snapshot_bid_orders",
    "snapshot_ask_orders",
)


def flow_config(
    settings: OrderFlowSettings,
    *,
    seed: int,
    ts_start: int,
    ts_end: int,
    tick: int,
    lot: int,
    price_min: int,
    price_max: int,
    price_start: int,
    instrument: int = 0,
    order_id_first: int = 1,
    feed_latency_ns: int = 0,
) -> dict[str, Any]:
    """The fields of the C generator's flow_config, for native.flow.Flow. Prices in points, lot in units, times in ns UTC.

    ConfigError where settings or the session's values are out of range.
    """
    # Here, not at the top: settings can be read and checked where the extension is not built.
    from native.flow import power_law_hz

    settings.check()
    _require(0 <= seed < 1 << 64, "seed", seed, "from 0 to 2^64 - 1")
    _require(0 <= ts_start < ts_end < 1 << 63, "ts_end", ts_end, "after ts_start, both int64 nanoseconds")
    _require(tick > 0 and lot > 0, "tick", (tick, lot), "positive, and so must lot")
    _require(price_start % tick == 0, "price_start", price_start, f"a multiple of the tick {tick}")
    inside = price_min + 2 * tick <= price_start <= price_max - 2 * tick
    _require(inside, "price_start", price_start, f"two ticks inside {price_min} to {price_max}")
    _require(1 <= order_id_first < ORDER_ID_LIMIT, "order_id_first", order_id_first, "from 1 to 2^62 - 1")
    _require(feed_latency_ns >= 0, "feed_latency_ns", feed_latency_ns, "not negative")
    levels = settings.levels
    limit_hz = list(settings.limit_hz_by_distance) or power_law_hz(settings.limit_hz, settings.distance_exponent, levels)
    slope = settings.cancel_hz * (settings.cancel_far_factor - 1) / max(levels - 1, 1)
    cancel_hz = list(settings.cancel_hz_by_distance) or [settings.cancel_hz + slope * index for index in range(levels)]
    names = [regime.name for regime in settings.regimes]
    return {
        **{name: getattr(settings, name) for name in _SAME_IN_NATIVE},
        "seed": seed,
        "ts_start": ts_start,
        "ts_end": ts_end,
        "feed_latency_ns": feed_latency_ns,
        "tick": tick,
        "lot": lot,
        "price_min": price_min,
        "price_max": price_max,
        "price_start": price_start,
        "order_id_first": order_id_first,
        "instrument": instrument,
        "anchor": int(settings.anchor_fair),
        "levels_n": levels,
        "limit_hz": limit_hz,
        "cancel_hz": cancel_hz,
        "parents_n": settings.parents,
        "regimes_n": len(names),
        "regime_start": names.index(settings.regime_start) if settings.regime_start else 0,
        "regimes": [_regime_config(regime, names) for regime in settings.regimes],
    }


def _regime_config(regime: RegimeSettings, names: list[str]) -> dict[str, Any]:
    fields = ("duration_s", "volatility_ticks", "limit_factor", "market_factor", "cancel_factor", "edge_ticks")
    config: dict[str, Any] = {name: getattr(regime, name) for name in fields}
    config["next"] = [regime.next.get(name, 0.0) for name in names]
    return config
