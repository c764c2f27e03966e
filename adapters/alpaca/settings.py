"""What config/venues/alpaca.toml says, and whether endpoint, key and environment belong together. Pure."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from adapters.alpaca.exact import date_days
from core.errors import ConfigError, UnitError, VenueProtocolError
from core.instruments import MONEY_SCALE
from core.units import NS_PER_SECOND, parse_fixed
from core.venue_opening import Environment

SEC_RATE_SCALE = 8  # USD of a million USD
TAF_RATE_SCALE = 9  # USD of a share

Seconds = Annotated[float, Meta(gt=0, le=3_600)]
Count = Annotated[int, Meta(ge=1, le=100_000)]


class Endpoints(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Origins without a slash at the end; streams with their path."""

    trading: str
    data: str
    trading_stream: str
    data_stream: str  # the feed's name follows


class SecFee(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """On sells, of their value, from a trade date (New York) on."""

    since: str
    usd_per_million: str


class TafFee(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """On sells, of each share, at most `usd_max` for one execution."""

    since: str
    usd_per_share: str
    usd_max: str


class AlpacaSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Defaults are in config/venues/alpaca.toml, with what each of them means; times in seconds."""

    live: Endpoints
    test: Endpoints
    feed: Literal["iex", "sip"]
    extended_hours: bool
    margin_rule: Literal["legacy", "intraday"]
    replace: Literal["refuse", "unfilled"]
    post_only: Literal["refuse", "plain"]
    quote_size_shares: Annotated[int, Meta(ge=1, le=10_000)]
    requests_per_min: Count
    cancel_reserve: Count
    comparison_reserve: Count
    orders_per_min: Count
    request_deadline_s: Seconds
    unknown_bound_s: Seconds
    not_found_needed: Annotated[int, Meta(ge=1, le=10)]
    silence_s: Seconds
    ping_s: Seconds
    clock_error_s: Seconds
    activities_late_s: Seconds
    money_interval_s: Seconds
    money_late_s: Annotated[float, Meta(gt=0, le=864_000)]
    fees_from_schedule: bool
    fee_decimals: Annotated[int, Meta(ge=0, le=MONEY_SCALE)]
    sec_fees: tuple[SecFee, ...]
    taf_fees: tuple[TafFee, ...]

    def __post_init__(self) -> None:
        if self.cancel_reserve + self.comparison_reserve + self.orders_per_min >= self.requests_per_min:
            kept = "cancel_reserve, comparison_reserve and orders_per_min"
            raise ConfigError(f"settings: {kept} leave nothing of requests_per_min for questions")
        for name, rows in (("sec_fees", self.sec_fees), ("taf_fees", self.taf_fees)):
            try:
                days = [date_days(row.since) for row in rows]
            except VenueProtocolError as error:
                raise ConfigError(f"settings: {name}: {error}") from None
            if days != sorted(set(days)):
                raise ConfigError(f"settings: {name}: the dates must rise")
        try:
            for sec in self.sec_fees:
                parse_fixed(sec.usd_per_million, SEC_RATE_SCALE)
            for taf in self.taf_fees:
                parse_fixed(taf.usd_per_share, TAF_RATE_SCALE)
                parse_fixed(taf.usd_max, MONEY_SCALE)
        except UnitError as error:
            raise ConfigError(f"settings: sec_fees, taf_fees: {error}") from None

    @property
    def unknown_bound_ns(self) -> int:
        return int(self.unknown_bound_s * NS_PER_SECOND)

    @property
    def not_found_ns(self) -> int:
        """After so long an order that is not there has not arrived and does not."""
        return int((self.request_deadline_s + self.unknown_bound_s) * NS_PER_SECOND)


# Whose endpoint a host is: what is in neither list is nobody's.
TRADING_HOSTS = {
    Environment.LIVE: frozenset({"api.alpaca.markets"}),
    Environment.TEST: frozenset({"paper-api.alpaca.markets"}),
}
DATA_HOSTS = frozenset({"data.alpaca.markets", "stream.data.alpaca.markets"})
LOOPBACK_HOSTS = ("127.0.0.1", "::1", "localhost")
PAPER_KEY, LIVE_KEY = "PK", "AK"


def endpoints_of(settings: AlpacaSettings, environment: Environment, address: str) -> Endpoints:
    """Where to connect. Raises ConfigError for an endpoint that belongs to another environment than this run."""
    if environment is Environment.SIMULATOR:
        host = address.rpartition(":")[0].removeprefix("[").removesuffix("]")
        if host not in LOOPBACK_HOSTS:
            raise ConfigError(f"address: {address!r}: a simulator is on this machine: {', '.join(LOOPBACK_HOSTS)}")
        return Endpoints(
            trading=f"http://{address}",
            data=f"http://{address}",
            trading_stream=f"ws://{address}/stream",
            data_stream=f"ws://{address}/v2/{settings.feed}",
        )
    if address:
        raise ConfigError(f"address: {address!r}: only environment simulator has one")
    found = {Environment.LIVE: settings.live, Environment.TEST: settings.test}[environment]
    allowed = TRADING_HOSTS[environment]
    _require_host(found.trading, "https", allowed, environment)
    _require_host(found.trading_stream, "wss", allowed, environment)
    _require_host(found.data, "https", DATA_HOSTS, environment)
    _require_host(found.data_stream, "wss", DATA_HOSTS, environment)
    return msgspec.structs.replace(found, data_stream=f"{found.data_stream}/v2/{settings.feed}")


def _require_host(url: str, scheme: str, hosts: frozenset[str], environment: Environment) -> None:
    found, _, rest = url.partition("://")
    host = rest.partition("/")[0]
    if found != scheme or host not in hosts:
        expected = ", ".join(sorted(hosts))
        raise ConfigError(f"settings: {url!r} is no endpoint of environment {environment.value!r}: {scheme}:// and {expected}")


def require_key_of(environment: Environment, key: str) -> None:
    """Raises ConfigError for a paper key where money is real, and the reverse; the message holds nothing of the key."""
    if not key:
        raise ConfigError("key: this connection needs one: the name of the secret that holds the API key")
    wrong = {Environment.LIVE: PAPER_KEY, Environment.TEST: LIVE_KEY}.get(environment)
    if wrong is not None and key.startswith(wrong):
        other = "a paper account" if wrong == PAPER_KEY else "a live account"
        raise ConfigError(f"key: it begins with {wrong}, so it is of {other}, and environment is {environment.value!r}")
