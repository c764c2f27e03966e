"""What must hold before a daemon trades with this key at this endpoint: rights, account mode, and that live is live. Pure.

Each check returns sentences, empty where all is well: every problem is told at once, and each names its cure.
"""

from __future__ import annotations

from adapters.binance.endpoints import Product
from adapters.binance.rest_bodies import KeyPermissions, PositionMode, SpotAccount
from core.venue_opening import Environment

# Of the venue's own, by host: an origin that is in neither list is nobody's.
LIVE_HOSTS = frozenset(
    {
        *(f"api{number}.binance.com" for number in range(1, 5)),
        "api.binance.com",
        "api-gcp.binance.com",
        "fapi.binance.com",
        "fstream.binance.com",
        "stream.binance.com",
        "ws-api.binance.com",
        "ws-fapi.binance.com",
    }
)
TEST_HOSTS = frozenset(
    {
        "api1.testnet.binance.vision",
        "demo-api.binance.com",
        "demo-fapi.binance.com",
        "demo-fstream.binance.com",
        "demo-stream.binance.com",
        "demo-ws-api.binance.com",
        "fstream.binancefuture.com",
        "stream.testnet.binance.vision",
        "testnet.binance.vision",
        "testnet.binancefuture.com",
        "ws-api.testnet.binance.vision",
    }
)
LOOPBACK_HOSTS = frozenset({"127.0.0.1", "localhost", "[::1]"})


def environment_of(url: str) -> Environment | None:
    """Where a URL leads; None for one that is not known."""
    scheme, _, rest = url.partition("://")
    address = rest.partition("/")[0]
    host = address.rpartition(":")[0] if address.rpartition(":")[2].isdecimal() else address
    if host in LOOPBACK_HOSTS:
        return Environment.SIMULATOR
    if scheme not in ("https", "wss"):
        return None
    if host in LIVE_HOSTS:
        return Environment.LIVE
    return Environment.TEST if host in TEST_HOSTS else None


def url_problems(url: str, wanted: Environment) -> list[str]:
    """A key of one environment at the endpoint of another is refused by the venue at best."""
    found = environment_of(url)
    if found is None:
        return [f"{url} is no endpoint of Binance that is known, or not encrypted: nothing is sent there"]
    if found is not wanted:
        return [f"{url} is {found.value}, and this connection is {wanted.value}: give it the endpoint of its own"]
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
