"""What must hold before a daemon trades with this key at this endpoint: rights, account mode, and that live is live. Pure.

Each check returns sentences, empty where all is well: every problem is told at once, and each names its cure.
"""

from __future__ import annotations

from enum import IntEnum

import msgspec

from adapters.binance.endpoints import Product
from adapters.binance.rest_bodies import KeyPermissions, PositionMode, SpotAccount


class Environment(IntEnum):
    LIVE = 0
    TEST = 1  # the venue's test network or demo mode
    LOOPBACK = 2  # a simulator on this machine


class Origins(msgspec.Struct, frozen=True):
    """`sapi` tells what a key may do; the test networks have none."""

    spot: str
    futures: str
    spot_stream: str
    futures_stream: str
    sapi: str | None


LIVE = Origins(
    "https://api.binance.com",
    "https://fapi.binance.com",
    "wss://ws-api.binance.com:443/ws-api/v3",
    "wss://fstream.binance.com",
    "https://api.binance.com",
)
# Of the venue's own, by host: an origin that is in neither list is nobody's.
LIVE_HOSTS = frozenset(
    {"api.binance.com", *(f"api{number}.binance.com" for number in range(1, 5)), "api-gcp.binance.com", "fapi.binance.com"}
)
TEST_HOSTS = frozenset(
    {
        "demo-api.binance.com",
        "demo-fapi.binance.com",
        "testnet.binance.vision",
        "api1.testnet.binance.vision",
        "testnet.binancefuture.com",
    }
)
LOOPBACK_HOSTS = frozenset({"127.0.0.1", "localhost", "[::1]"})


def environment_of(origin: str) -> Environment | None:
    """Where an origin leads; None for one that is not known."""
    scheme, _, address = origin.partition("://")
    host = address.rpartition(":")[0] if address.rpartition(":")[2].isdecimal() else address
    if host in LOOPBACK_HOSTS:
        return Environment.LOOPBACK
    if scheme != "https":
        return None
    if host in LIVE_HOSTS:
        return Environment.LIVE
    return Environment.TEST if host in TEST_HOSTS else None


def origin_problems(origin: str, wanted: Environment) -> list[str]:
    """A key of one environment at the endpoint of another is refused by the venue at best."""
    found = environment_of(origin)
    if found is None:
        return [f"{origin} is no endpoint of Binance that is known, or not https: nothing is sent there"]
    if found is not wanted:
        return [f"{origin} is {found.name.lower()}, and this run is {wanted.name.lower()}: give it the endpoint of its own"]
    return []


def key_problems(product: Product, permissions: KeyPermissions) -> list[str]:
    """Too many rights of a key, and too few. No key that can move money out is ever used."""
    problems = []
    if permissions.enable_withdrawals:
        problems.append("the API key may withdraw: take that right from it")
    if permissions.enable_internal_transfer or permissions.permits_universal_transfer:
        problems.append("the API key may transfer between accounts: take that right from it")
    if not permissions.ip_restrict:
        problems.append("the API key works from any address: restrict it to this machine's")
    if not permissions.enable_reading:
        problems.append("the API key may not read the account: give it that right")
    may_trade = permissions.enable_spot_and_margin_trading if product is Product.SPOT else permissions.enable_futures
    if not may_trade:
        problems.append(f"the API key may not trade {'spot' if product is Product.SPOT else 'futures'}: give it that right")
    return problems


def spot_account_problems(account: SpotAccount) -> list[str]:
    return [] if account.can_trade else ["the account may not trade: ask the venue why"]


def position_mode_problems(mode: PositionMode) -> list[str]:
    if not mode.dual_side_position:
        return []
    return ["the futures account is in hedge mode: set it to one-way mode, so that an instrument has one position"]
