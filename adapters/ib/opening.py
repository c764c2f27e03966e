"""Opens a gateway of Interactive Brokers, for the daemon and for its guardian."""

from __future__ import annotations

from adapters.ib.contracts import wanted_contract
from adapters.ib.io import IbAdapter
from adapters.ib.session import IbSession
from adapters.ib.settings import IbSettings
from adapters.ib.switch import IbSwitch
from core.errors import ConfigError
from core.venue_opening import Environment, Role, VenueOpening

LOOPBACK = ("127.0.0.1", "::1", "localhost")
BOOK_LEVELS_MAX = 10


def check(opening: VenueOpening) -> None:
    """Raises ConfigError for what can be said without secrets, of which there are none here."""
    settings = read_settings(opening)
    host, port = address_of(opening, settings)
    settings.check_port(opening.environment, port)
    if opening.environment is Environment.SIMULATOR and host not in LOOPBACK:
        raise ConfigError(f"address: {host!r}: a simulator is on this machine: {', '.join(LOOPBACK)}")
    trouble = settings.account_trouble(opening.environment, opening.account)
    if trouble:
        raise ConfigError(f"account: {trouble}")
    for key, instrument in opening.instruments.items():
        wanted_contract(instrument, opening.symbols.get(key, ""), settings)
    for each in opening.subscriptions:
        if each.book_levels > BOOK_LEVELS_MAX:
            raise ConfigError(
                f"{each.instrument_id}: a strategy wants {each.book_levels} levels; at most {BOOK_LEVELS_MAX} are asked for"
            )


def read_settings(opening: VenueOpening) -> IbSettings:
    settings = opening.read_settings(IbSettings)
    settings.check()
    return settings


def address_of(opening: VenueOpening, settings: IbSettings) -> tuple[str, int]:
    if opening.address:
        return opening.host_and_port()
    if opening.environment is Environment.SIMULATOR:
        raise ConfigError('address: this key is missing: "HOST:PORT" of tradingd venue-sim ib')
    return settings.host, settings.live_port if opening.environment is Environment.LIVE else settings.paper_port


def open_adapter(opening: VenueOpening) -> IbAdapter:
    check(opening)
    settings = read_settings(opening)
    host, port = address_of(opening, settings)
    trades = opening.role is Role.TRADE
    session = IbSession(
        settings=settings,
        venue=opening.venue,
        environment=opening.environment,
        account=opening.account,
        prefix=opening.order_id_prefix,
        client_id=settings.client_id if trades else settings.watch_client_id,
        instruments=opening.instruments,
        symbols=opening.symbols,
        subscriptions=opening.subscriptions,
        trades=trades,
    )
    return IbAdapter(
        venue=opening.venue,
        session=session,
        host=host,
        port=port,
        connect_timeout_s=settings.connect_timeout_s,
        request_timeout_s=settings.request_timeout_s,
        now=opening.now,
        wall=opening.wall,
        on_frame=opening.on_frame,
        on_trouble=opening.on_trouble,
    )


def open_switch(opening: VenueOpening) -> IbSwitch:
    check(opening)
    settings = read_settings(opening)
    host, port = address_of(opening, settings)
    return IbSwitch(
        venue=opening.venue,
        environment=opening.environment,
        account=opening.account,
        settings=settings,
        host=host,
        port=port,
        instruments=opening.instruments,
        symbols=opening.symbols,
        prefix=opening.order_id_prefix,
        first_order_id=opening.first_order_id,
        now=opening.now,
        on_frame=opening.on_frame,
        on_trouble=opening.on_trouble,
    )
