"""The keys of config/venues/deribit.toml, and what the pure halves and the sockets are given of them."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from adapters.deribit.credits import CreditSettings
from adapters.deribit.settings import DeribitSettings
from core.units import NS_PER_MS

Seconds = Annotated[int, msgspec.Meta(ge=1, le=3_600)]
Milliseconds = Annotated[int, msgspec.Meta(ge=1, le=3_600_000)]
Count = Annotated[int, msgspec.Meta(ge=1, le=10**9)]
HEARTBEAT_S_MIN = 10  # documented


class Options(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whole numbers with their units in their names; config/venues/deribit.toml says what each is for."""

    url_live: str
    url_test: str
    url_simulator: str
    sign: bool
    trigger: Literal["last_price", "mark_price", "index_price"]
    reprice_post_only: bool
    book_interval: Literal["raw", "agg2", "100ms"]
    heartbeat_s: Annotated[int, msgspec.Meta(ge=HEARTBEAT_S_MIN, le=3_600)]
    guardian_heartbeat_s: Annotated[int, msgspec.Meta(ge=HEARTBEAT_S_MIN, le=3_600)]
    silence_s: Seconds
    connect_s: Seconds
    login_s: Seconds
    query_s: Seconds
    answer_ms: Milliseconds
    order_valid_ms: Milliseconds
    server_clock_error_ms: Milliseconds
    clock_error_ms_max: Milliseconds
    look_interval_ms: Milliseconds
    stream_late_ms_max: Milliseconds
    cash_interval_ms: Milliseconds
    cash_late_ms: Milliseconds
    log_pause_ms: Milliseconds
    reconnect_first_ms: Milliseconds
    reconnect_max_ms: Milliseconds
    refused_wait_ms: Milliseconds
    request_cost: Count
    pool: Count
    refill_per_s: Count
    engine_burst: Count
    engine_per_s: Count
    cancel_reserve: Annotated[int, msgspec.Meta(ge=0, le=10**6)]
    guardian_percent: Annotated[int, msgspec.Meta(ge=1, le=90)]


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What the sockets' side waits for."""

    connect_s: float
    silence_s: float
    login_s: float
    query_s: float
    reconnect_s_first: float
    reconnect_s_max: float
    refused_wait_s: float
    clock_error_ms_max: int


def limits_of(options: Options) -> Limits:
    return Limits(
        connect_s=options.connect_s,
        # The session notices first: its own silence counts frames that could be read.
        silence_s=2 * options.silence_s,
        login_s=options.login_s,
        query_s=options.query_s,
        reconnect_s_first=options.reconnect_first_ms / 1_000,
        reconnect_s_max=options.reconnect_max_ms / 1_000,
        refused_wait_s=options.refused_wait_ms / 1_000,
        clock_error_ms_max=options.clock_error_ms_max,
    )


def settings_of(
    options: Options,
    *,
    client_id: str,
    client_secret: str,
    instrument_names: tuple[str, ...],
    order_id_prefix: str,
    is_testnet: bool,
    book_levels: int = 0,
    is_watch: bool = False,
    is_guardian: bool = False,
) -> DeribitSettings:
    """For a session, or (`is_guardian`) for a switch: the venue counts the credits of both connections together."""
    percent = options.guardian_percent if is_guardian else 100 - options.guardian_percent
    heartbeat_s = options.guardian_heartbeat_s if is_guardian else options.heartbeat_s
    return DeribitSettings(
        client_id=client_id,
        client_secret=client_secret,
        instrument_names=instrument_names,
        order_id_prefix=order_id_prefix,
        is_testnet=is_testnet,
        is_watch=is_watch,
        sign=options.sign,
        trigger=options.trigger,
        reprice_post_only=options.reprice_post_only,
        book_levels=book_levels,
        # Raw channels are for those who are logged in (documented).
        book_interval="100ms" if is_watch else options.book_interval,
        heartbeat_s=heartbeat_s,
        silence_ns_max=max(options.silence_s * 1_000, heartbeat_s * 2_500) * NS_PER_MS,
        answer_ns_max=options.answer_ms * NS_PER_MS,
        order_valid_ns=options.order_valid_ms * NS_PER_MS,
        server_clock_error_ms=options.server_clock_error_ms,
        look_interval_ns=options.look_interval_ms * NS_PER_MS,
        stream_late_ms_max=options.stream_late_ms_max,
        cash_interval_ns=options.cash_interval_ms * NS_PER_MS,
        cash_late_ms=options.cash_late_ms,
        log_pause_ns=options.log_pause_ms * NS_PER_MS,
        credits=credits_of(options, percent, 0 if is_guardian else options.cancel_reserve),
    )


def credits_of(options: Options, percent: int, cancel_reserve: int) -> CreditSettings:
    """So much of the account's credits, rounded down: together the shares are never more than the venue gives."""

    def share(whole: int) -> int:
        return max(whole * percent // 100, 1)

    return CreditSettings(
        request_cost=options.request_cost,
        pool=share(options.pool),
        refill_per_s=share(options.refill_per_s),
        engine_burst=share(options.engine_burst),
        engine_per_s=share(options.engine_per_s),
        cancel_reserve=cancel_reserve,
        query_reserve=share(CreditSettings().query_reserve),
    )
