"""How each fault is made to happen at a simulated venue: armed, with a new connection where it needs one, or done by `act`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from core.instruments import Instrument

# (name, arguments) of SimVenue.act.
Deed = tuple[str, dict[str, Any]]
ALERT_S = 5.0


@dataclass(frozen=True, slots=True)
class Scene:
    """What a deed may need to know: the instrument that is held most, its id there, the venue's name for it, how much.

    `qty_min`, the least that an order may be, is in the simulator's own units.
    """

    instrument: Instrument
    listing: str
    symbol: str
    account: str
    position: int
    qty_min: int


Deeds = Callable[[Scene], list[Deed]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """`times`: armed for so many occasions. `together`: faults armed with it, again and again, without which it has no occasion.

    `cuts`: every connection is cut, so that there is a login. `deeds` happen at once, `after` when the fault has had its time.
    `alert_s`: within so long somebody must be told; 0: nobody need be. `dwell_s`: how long it is left to itself.
    `at_kill`: armed for the kill that ends every drill. `is_foreign`: there are fills that are not ours: a person has to look,
    and the daemon halts or does as it was told. `may_halt`: the venue says what cannot be. Without either, a halt is a breach.
    """

    times: int = 2
    together: tuple[int, ...] = ()
    cuts: bool = False
    deeds: Deeds | None = None
    after: Deeds | None = None
    alert_s: float = 0.0
    dwell_s: float = 3.0
    at_kill: bool = False
    is_foreign: bool = False
    may_halt: bool = False


def one(name: str, **arguments: Any) -> Deeds:
    """A deed whose arguments are texts with {account}, {symbol} and {id} in them, or plain values."""

    def make(scene: Scene) -> list[Deed]:
        names = {"account": scene.account, "symbol": scene.symbol, "id": scene.listing}
        filled = {key: value.format(**names) if isinstance(value, str) else value for key, value in arguments.items()}
        return [(name, filled)]

    return make


def _by_hand(name: str, instrument: str, qty: str, **more: Any) -> Deeds:
    """The account's owner buys the least there is."""

    def make(scene: Scene) -> list[Deed]:
        made = one(name, account="{account}", **{instrument: "{symbol}", **more})(scene)
        return [(deed, {**arguments, qty: scene.qty_min}) for deed, arguments in made]

    return make


def _held(deeds: Deeds) -> Deeds:
    """Once something is held: money that moves on nothing moves not."""

    def make(scene: Scene) -> list[Deed]:
        if not scene.position:
            raise ValueError("nothing is held yet")
        return deeds(scene)

    return make


def _fund(scene: Scene) -> list[Deed]:
    """Funding of the session, which is settled then; and some coins come."""
    key = scene.listing
    funds: list[Deed] = [("fund", {"instrument_id": key, "rate_ppb": rate}) for rate in (5_000_000, -2_000_000)]
    coins = {"account": scene.account, "currency": scene.instrument.settlement_currency, "amount": 1_000_000}
    return [*funds, ("session", {}), ("adjust", coins)]


def _finance(scene: Scene) -> list[Deed]:
    return [("financing", {}), ("transfer", {"account": scene.account, "amount": -5 * 10**8})]


def _fund_symbol(scene: Scene) -> list[Deed]:
    return [("fund", {"symbol": scene.symbol, "rate_ppb": rate}) for rate in (100_000, -200_000)]


def _manual(scene: Scene) -> list[Deed]:
    at = {"account": scene.account, "instrument_id": scene.listing}
    return [("manual", {**at, "side": "BUY", "qty": scene.qty_min})]


DEFAULT = Plan()
EVERYWHERE: dict[int, Plan] = {
    10: Plan(dwell_s=6.0),
    20: Plan(together=(14,)),
    21: Plan(together=(14,)),
    31: Plan(times=1, is_foreign=True, alert_s=ALERT_S),
    36: Plan(times=1, cuts=True),
    41: Plan(times=1, dwell_s=15.0),
    42: Plan(times=1, dwell_s=12.0),
    43: Plan(alert_s=ALERT_S),
    44: Plan(times=4, cuts=True, dwell_s=6.0, alert_s=ALERT_S),
    45: Plan(cuts=True, alert_s=ALERT_S),
    46: Plan(times=1, alert_s=ALERT_S),
    47: Plan(times=1, alert_s=ALERT_S),
    49: Plan(times=1, dwell_s=8.0),
    53: Plan(cuts=True, alert_s=ALERT_S),
    61: Plan(times=1),
    69: Plan(times=1, alert_s=ALERT_S),
}


def _foreign(deeds: Deeds) -> Plan:
    return Plan(is_foreign=True, deeds=deeds, alert_s=ALERT_S)


def _pay_and_split(scene: Scene) -> list[Deed]:
    """A dividend, the fees of the day, then twice as many shares at half the price."""
    if not scene.position:
        raise ValueError("nothing is held")
    pays = [("dividend", {"symbol": scene.symbol, "cash": 100 * 10**2}), ("night", {})]
    return [*pays, ("split", {"symbol": scene.symbol, "numerator": 2, "denominator": 1})]


def _split(scene: Scene) -> list[Deed]:
    if not scene.position:
        raise ValueError("nothing is held")
    return [("split", {"listing": scene.listing, "numerator": 2, "denominator": 1})]


def _binance(*, is_usdm: bool) -> dict[int, Plan]:
    plans = {
        # What is not found has to be asked about first, and be open, or have ended; a stream that tells of it is answer enough.
        20: Plan(times=3, together=(14, 42), dwell_s=6.0),
        21: Plan(times=6, together=(14,)),
        # The venue bans for two minutes at least, and nothing is to be had from it for so long.
        38: Plan(times=1, dwell_s=125.0, alert_s=ALERT_S),
        53: Plan(cuts=True),
        58: _foreign(_by_hand("manual_order", "symbol", "qty", side="BUY")),
        60: Plan(deeds=one("restart", orders_lost=1), alert_s=ALERT_S),
        62: Plan(deeds=one("halt", symbol="{symbol}"), after=one("open", symbol="{symbol}")),
    }
    if is_usdm:
        # A listen key is kept every twenty minutes: nobody waits for that.
        plans[61] = Plan(deeds=one("expire_keys"))
        plans[64] = Plan(deeds=_fund_symbol)
        plans[65] = _foreign(one("liquidate", account="{account}", symbol="{symbol}"))
    return plans


def _polling(*, is_usdm: bool) -> dict[int, Plan]:
    """Binance's, where no stream says that the venue was away: what it has lost several looks do not find."""
    return _binance(is_usdm=is_usdm) | {60: Plan(deeds=one("restart", orders_lost=1), alert_s=15.0, dwell_s=12.0)}


BY_KIND: dict[str, dict[int, Plan]] = {
    "deribit": {
        1: Plan(alert_s=ALERT_S),
        2: Plan(alert_s=ALERT_S),
        3: Plan(alert_s=ALERT_S),
        6: Plan(cuts=True, alert_s=ALERT_S),
        8: Plan(cuts=True, alert_s=ALERT_S),
        13: Plan(is_foreign=True),
        18: Plan(cuts=True, alert_s=ALERT_S),
        36: Plan(times=1, cuts=True, alert_s=ALERT_S),
        37: Plan(cuts=True, alert_s=ALERT_S),
        38: Plan(at_kill=True),
        39: Plan(cuts=True, alert_s=ALERT_S),
        # The silence has to be noticed first.
        41: Plan(times=1, dwell_s=20.0, alert_s=20.0),
        58: _foreign(_manual),
        60: Plan(deeds=one("restart", orders_lost=1), alert_s=ALERT_S),
        61: Plan(times=1, alert_s=ALERT_S),
        62: Plan(deeds=one("maintenance", is_on=True), after=one("maintenance", is_on=False)),
        63: Plan(deeds=one("halt", instrument_id="{id}"), after=one("open", instrument_id="{id}")),
        64: Plan(deeds=_held(_fund)),
        65: _foreign(one("force", account="{account}", instrument_id="{id}")),
    },
    "binance-spot": _binance(is_usdm=False),
    "binance-usdm": _binance(is_usdm=True),
    "ccxt-spot": _polling(is_usdm=False),
    "ccxt-usdm": _polling(is_usdm=True),
    "alpaca": {
        16: Plan(at_kill=True),
        30: Plan(is_foreign=True, deeds=one("bust", account="{account}"), alert_s=ALERT_S),
        58: _foreign(_by_hand("manual_order", "symbol", "qty", side="buy", type="market", time_in_force="day")),
        60: Plan(deeds=one("restart", loses=True), alert_s=ALERT_S),
        62: Plan(deeds=one("maintain", seconds=4), dwell_s=5.0),
        63: Plan(deeds=one("halt", symbol="{symbol}"), after=one("resume", symbol="{symbol}")),
        66: Plan(is_foreign=True, deeds=_pay_and_split, alert_s=ALERT_S, dwell_s=6.0),
    },
    "oanda": {
        # Canceled by its own word, and open all the same.
        29: Plan(may_halt=True),
        58: _foreign(_by_hand("manual_order", "instrument", "units")),
        60: Plan(deeds=one("lose", account="{account}")),
        62: Plan(deeds=one("halt", instrument="{symbol}"), after=one("resume", instrument="{symbol}")),
        64: Plan(deeds=_held(_finance)),
        65: _foreign(one("margin_closeout", account="{account}")),
        # It is asked whose token it is at the start and behind each reconnect.
        69: Plan(times=1, cuts=True, alert_s=ALERT_S),
    },
    "ib": {
        42: Plan(times=1, cuts=True, dwell_s=12.0),
        58: _foreign(_by_hand("manual_order", "listing", "qty", listing="{id}", side="BUY")),
        60: Plan(deeds=one("restart", loses_orders=True), alert_s=ALERT_S),
        61: Plan(times=1, cuts=True, alert_s=ALERT_S),
        62: Plan(deeds=one("halt", listing="{id}"), after=one("open", listing="{id}")),
        63: Plan(deeds=one("lose_servers"), after=one("restore_servers", is_data_lost=True)),
        65: _foreign(one("liquidate", account="{account}", listing="{id}")),
        66: Plan(is_foreign=True, deeds=_split),  # found by the next comparison
        68: Plan(deeds=one("restart"), alert_s=ALERT_S),
        69: Plan(times=1, cuts=True, alert_s=ALERT_S),
    },
}


def plan_of(number: int, kind: str) -> Plan:
    """`kind`: of the connection, as `kind_of` says."""
    return BY_KIND.get(kind, {}).get(number) or EVERYWHERE.get(number, DEFAULT)
