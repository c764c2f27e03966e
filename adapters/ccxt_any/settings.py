"""What a connection with adapter = "ccxt" may set; config/venues/ccxt.toml holds the defaults and says what each is for."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from core.errors import ConfigError

# They change what an order means, or let ccxt do by itself what is decided here.
FORBIDDEN_OPTIONS = frozenset({"createMarketBuyOrderRequiresPrice", "maxRetriesOnFailure", "maxRetriesOnFailureDelay"})
# What some exchanges want beside a key and is no secret.
LOGIN_NAMES = frozenset({"accountId", "login", "uid", "walletAddress"})


class CcxtSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Seconds where a name ends in _s."""

    exchange: str
    options: dict[str, Any]
    headers: dict[str, str]
    login: dict[str, str]
    token_is: Literal["password", "privateKey", "twofa"]
    order_ids: Literal["dashes", "letters"]
    order_id_name: str
    poll_orders_s: float
    poll_idle_s: float
    poll_soon_s: float
    poll_book_s: float
    poll_trades_s: float
    book_levels: int
    lost_after_s: float
    reconnect_first_s: float
    reconnect_max_s: float
    deadline_s: float
    connect_timeout_s: float
    silence_timeout_s: float
    requests_at_once: int
    rate_percent: int
    guardian_rate_percent: int
    rate_burst_s: float
    cancel_reserve_percent: int
    not_found_s: float
    not_found_reads: int
    history_limit: int
    history_days: float
    clock_s: float
    clock_error_ms_max: int
    balances_are_positions: bool
    check_balances: bool
    balances_settle_s: float

    def check(self) -> None:
        """Raises ConfigError for values that cannot be used, in words that begin with the key."""
        if not self.exchange:
            raise ConfigError('exchange: this key is missing: the exchange as ccxt calls it, for example "kraken"')
        for name in self.__struct_fields__:
            value = getattr(self, name)
            if isinstance(value, int | float) and not isinstance(value, bool) and not 0 < value < 1e9:
                raise ConfigError(f"{name}: {value} must be above 0")
        for name in ("rate_percent", "guardian_rate_percent"):
            if getattr(self, name) > 100:
                raise ConfigError(f"{name}: at most 100")
        if self.cancel_reserve_percent > 50:
            raise ConfigError("cancel_reserve_percent: at most 50")
        for name in sorted(self.login.keys() - LOGIN_NAMES):
            raise ConfigError(f"login: {name} is none of {', '.join(sorted(LOGIN_NAMES))}; secrets go by key, secret and token")
        for name in sorted(FORBIDDEN_OPTIONS & self.options.keys()):
            raise ConfigError(f"options: {name} is not to be changed here")
