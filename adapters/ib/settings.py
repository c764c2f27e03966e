"""The settings of a connection: config/venues/ib.toml, with the connection's own over it."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

from core.errors import ConfigError
from core.units import NS_PER_SECOND
from core.venue_opening import Environment

_TIME = re.compile(r"([01]\d|2[0-3]):([0-5]\d)\Z", re.ASCII)
CLIENT_ID_MAX = 999_999


class IbSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """config/venues/ib.toml says what each key means."""

    host: str
    live_port: int
    paper_port: int
    live_ports: tuple[int, ...]
    paper_ports: tuple[int, ...]
    paper_account_prefixes: tuple[str, ...]
    live_account_prefixes: tuple[str, ...]
    client_id: int
    guardian_client_id: int
    watch_client_id: int
    future_exchange: str
    stock_exchange: str
    time_zone: str
    market_data_type: int
    tick_by_tick: bool
    smart_depth: bool
    outside_regular_hours: bool
    messages_per_second: int
    cancel_reserve: int
    connect_timeout_s: float
    request_timeout_s: float
    heartbeat_s: float
    silence_s: float
    answer_timeout_s: float
    commission_wait_s: float
    not_found_s: float
    clock_error_max_s: float
    reset_time: str
    reset_time_zone: str
    reset_duration_s: int
    reset_quiet_s: int

    def check(self) -> None:
        """Raises ConfigError that names the key."""
        ids = (self.client_id, self.guardian_client_id, self.watch_client_id)
        if len(set(ids)) != len(ids) or not all(0 < each <= CLIENT_ID_MAX for each in ids):
            raise ConfigError(
                f"settings: client_id, guardian_client_id and watch_client_id: {ids} must be three of 1 to {CLIENT_ID_MAX}"
            )
        if not 0 < self.cancel_reserve < self.messages_per_second:
            raise ConfigError(f"settings: cancel_reserve: {self.cancel_reserve} must be less than messages_per_second")
        if self.market_data_type not in (1, 2, 3, 4):
            raise ConfigError(f"settings: market_data_type: {self.market_data_type} must be 1, 2, 3 or 4")
        if _TIME.match(self.reset_time) is None:
            raise ConfigError(f'settings: reset_time: {self.reset_time!r} must read "HH:MM"')
        for name in (
            "connect_timeout_s",
            "request_timeout_s",
            "heartbeat_s",
            "answer_timeout_s",
            "not_found_s",
            "clock_error_max_s",
        ):
            if not 0 < getattr(self, name) <= 600:
                raise ConfigError(f"settings: {name}: {getattr(self, name)} must be above 0 and at most 600")
        if not self.heartbeat_s < self.silence_s <= 600:
            raise ConfigError(f"settings: silence_s: {self.silence_s} must be more than heartbeat_s")
        if not 0 <= self.commission_wait_s <= 10:
            raise ConfigError(f"settings: commission_wait_s: {self.commission_wait_s} must be 0 to 10")
        if not 0 <= self.reset_duration_s <= 43_200 or not 0 <= self.reset_quiet_s <= 3_600:
            raise ConfigError("settings: reset_duration_s must be 0 to 43200 and reset_quiet_s 0 to 3600")
        for name in ("time_zone", "reset_time_zone"):
            try:
                ZoneInfo(getattr(self, name))
            except (ZoneInfoNotFoundError, ValueError):
                raise ConfigError(f"settings: {name}: {getattr(self, name)!r} is no time zone") from None

    def check_port(self, environment: Environment, port: int) -> None:
        """Raises ConfigError where this port belongs to the other environment."""
        ports = {Environment.LIVE: self.live_ports, Environment.TEST: self.paper_ports}
        others = {*self.live_ports, *self.paper_ports}
        if environment is Environment.SIMULATOR:
            if port in others:
                raise ConfigError(f"address: port {port} is one of a gateway's own; a simulator listens on another one")
        elif port not in ports[environment]:
            raise ConfigError(f"address: port {port} is none of those for {environment.value!r}: {list(ports[environment])}")

    def account_trouble(self, environment: Environment, account: str) -> str:
        """Why an account with this name cannot be one of the environment; "" where it can."""
        wanted = self.live_account_prefixes if environment is Environment.LIVE else self.paper_account_prefixes
        if account.startswith(wanted):
            return ""
        kind = "live" if environment is Environment.LIVE else "paper"
        return f"account {account!r} is no {kind} account: those begin with {' or '.join(wanted)}"

    def seconds_to_reset(self, ts: int) -> int:
        """Until the daily reset begins; 0 while it lasts."""
        hour, minute = (int(part) for part in self.reset_time.split(":"))
        zone = ZoneInfo(self.reset_time_zone)
        now = datetime.fromtimestamp(ts // NS_PER_SECOND, UTC)
        today = now.astimezone(zone).date()
        for day in (-1, 0, 1, 2):
            begins = datetime.combine(today + timedelta(days=day), datetime.min.time(), zone).replace(hour=hour, minute=minute)
            if now < begins.astimezone(UTC) + timedelta(seconds=self.reset_duration_s):
                return max(int((begins.astimezone(UTC) - now).total_seconds()), 0)
        raise AssertionError("a reset is never further away than two days")
