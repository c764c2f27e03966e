"""What happens at the simulated OANDA that no client asked for over the API. Pure."""

from __future__ import annotations

from typing import Any

import msgspec

from core.enums import OrderType, Side, TimeInForce
from sim.venues.exchange.model import Listing, NewOrder, Order, Refused
from sim.venues.oanda import text
from sim.venues.oanda.account import AccountBook
from sim.venues.oanda.engine import Engine
from sim.venues.oanda.pairs import HOME

_KEYS = {
    "mid": {"instrument", "price"},
    "size": {"instrument", "units"},
    "halt": {"instrument"},
    "resume": {"instrument"},
    "manual_order": {"account", "instrument", "units"},
    "manual_limit": {"account", "instrument", "units", "price"},
    "manual_cancel": {"account", "client_id"},
    "hit": {"account", "client_id", "units"},
    "financing": set(),
    "margin_closeout": {"account"},
    "transfer": {"account", "amount"},
    "adjustment": {"account", "amount"},
    "dividend": {"account", "instrument", "amount"},
    "reset": {"account"},
    "lose": {"account"},
    "coarsen": set(),
}


def act(engine: Engine, ts: int, name: str, arguments: dict[str, Any]) -> None:
    """Prices in points, amounts in 10^-8, units whole. Raises ValueError for what cannot be."""
    if name not in _KEYS:
        raise ValueError(f"there is no deed {name!r}; there are {', '.join(sorted(_KEYS))} and cut")
    if set(arguments) != _KEYS[name]:
        raise ValueError(f"{name}: wants {', '.join(sorted(_KEYS[name])) or 'nothing'}, not {', '.join(sorted(arguments))}")
    try:
        _act(engine, ts, name, arguments)
    except Refused as refused:
        raise ValueError(f"{name}: {refused}") from None
    engine.flush(ts)


def _act(engine: Engine, ts: int, name: str, arguments: dict[str, Any]) -> None:
    exchange, dealer = engine.exchange, engine.dealer
    match name:
        case "mid":
            dealer.set_mid(ts, _listing(engine, arguments), int(arguments["price"]))
        case "size":
            dealer.set_size(ts, _listing(engine, arguments), int(arguments["units"]))
        case "halt":
            listing = _listing(engine, arguments)
            dealer.withdraw(ts, listing)
            exchange.halt(ts, listing)
            dealer.quotes[listing.name].seen += 1
        case "resume":
            listing = _listing(engine, arguments)
            exchange.open(ts, listing)
            dealer.quote(ts, listing)
        case "manual_order" | "manual_limit":
            _by_hand(engine, ts, arguments)
        case "manual_cancel":
            exchange.cancel(ts, _order(engine, arguments))
        case "hit":
            dealer.fill_part(ts, _order(engine, arguments), int(arguments["units"]))
        case "financing":
            engine.finance(ts)
        case "margin_closeout":
            book = _book(engine, arguments)
            if not book.trades:
                raise ValueError(f"margin_closeout: {book.name} holds nothing")
            engine.force(ts, book)
        case "transfer":
            _transfer(engine, ts, _book(engine, arguments), int(arguments["amount"]), "CLIENT_FUNDING")
        case "adjustment":
            _transfer(engine, ts, _book(engine, arguments), int(arguments["amount"]), "ADJUSTMENT")
        case "dividend":
            _dividend(engine, ts, _book(engine, arguments), _listing(engine, arguments), int(arguments["amount"]))
        case "reset":
            book = _book(engine, arguments)
            book.begin_batch()
            engine.told.append((book, book.write(ts, "RESET_RESETTABLE_PL")))
        case "lose":
            exchange.lose(ts, exchange.open_orders(_book(engine, arguments).account))
        case _:
            coarsen(engine)


def _by_hand(engine: Engine, ts: int, arguments: dict[str, Any]) -> None:
    listing, book, units = _listing(engine, arguments), _book(engine, arguments), int(arguments["units"])
    price = int(arguments["price"]) if "price" in arguments else None
    new = NewOrder(
        side=Side.BUY if units > 0 else Side.SELL,
        qty=abs(units),
        price=price,
        order_type=OrderType.MARKET if price is None else OrderType.STOP_LIMIT,
        time_in_force=TimeInForce.FOK if price is None else TimeInForce.GTC,
        trigger_price=price,
        trigger_by="mark" if units > 0 else "index",
        is_if_touched=price is not None,
    )
    engine.exchange.manual(ts, book.account, listing, new)
    engine.flush(ts)
    engine.dealer.refill(ts, listing)


def _transfer(engine: Engine, ts: int, book: AccountBook, amount: int, reason: str) -> None:
    engine.exchange.adjust(ts, book.account, HOME, text.rounded(amount), "transfer")
    book.begin_batch()
    fields = {"amount": text.money(amount), "fundingReason": reason, "accountBalance": text.money(book.balance())}
    engine.told.append((book, book.write(ts, "TRANSFER_FUNDS", **fields)))


def _dividend(engine: Engine, ts: int, book: AccountBook, listing: Listing, amount: int) -> None:
    """`amount` in the home currency."""
    engine.exchange.books.move_cash(ts, book.account, listing, HOME, text.rounded(amount), "dividend")
    book.begin_batch()
    fields = {
        "instrument": listing.name,
        "dividendAdjustment": text.money(amount),
        "accountBalance": text.money(book.balance()),
        "openTradeDividendAdjustments": [],
    }
    engine.told.append((book, book.write(ts, "DIVIDEND_ADJUSTMENT", **fields)))


def coarsen(engine: Engine) -> None:
    """Prices have one decimal less from now on."""
    for listing in engine.exchange.listings.values():
        if listing.rules.tick == 1:
            engine.exchange.set_rules(listing, msgspec.structs.replace(listing.rules, tick=10))


def _listing(engine: Engine, arguments: dict[str, Any]) -> Listing:
    found = engine.exchange.listings.get(str(arguments["instrument"]))
    if found is None:
        raise ValueError(f"there is no {arguments['instrument']!r}; there are {', '.join(engine.exchange.listings)}")
    return found


def _book(engine: Engine, arguments: dict[str, Any]) -> AccountBook:
    found = engine.books.get(str(arguments["account"]))
    if found is None:
        raise ValueError(f"there is no account {arguments['account']!r}")
    return found


def _order(engine: Engine, arguments: dict[str, Any]) -> Order:
    book, name = _book(engine, arguments), str(arguments["client_id"])
    found = engine.find(book, f"@{name}")
    if found is None:
        raise ValueError(f"{book.name} has no open order {name!r}")
    return found
