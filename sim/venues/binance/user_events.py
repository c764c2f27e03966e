"""What the user streams say of what has happened: executionReport and account position; ORDER_TRADE_UPDATE and its kin. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sim.venues.binance.markets import Product
from sim.venues.binance.orders import (
    Texts,
    algo_id,
    algo_status,
    book_type,
    entry_price,
    money,
    ms,
    order_id,
    status,
    tag_of,
    trade_id,
    wire_id,
)
from sim.venues.exchange.ledger import Books
from sim.venues.exchange.model import Account, CashMove, Fill, Happened, Order

Event = dict[str, Any]

_SPOT_WHAT = {
    Happened.PLACED: "NEW",
    Happened.REPLACED: "REPLACED",
    Happened.TRIGGERED: "NEW",
    Happened.CANCELED: "CANCELED",
    Happened.EXPIRED: "EXPIRED",
    Happened.REJECTED: "EXPIRED",
    Happened.FILLED: "TRADE",
}


class EventWriter:
    """One product's events. `texts` by symbol."""

    def __init__(self, product: Product, books: Books, texts: dict[str, Texts]) -> None:
        self._product = product
        self._books = books
        self._texts = texts
        self._execution = 8_000_000

    def events(self, ts: int, change: Order | Fill) -> list[Event]:
        """In the order in which they are sent; none for what this venue tells nobody of."""
        if isinstance(change, Fill):
            if change.is_busted:
                return []
            order, fill = change.order_then, change
        else:
            order, fill = change, None
        if order.happened is Happened.RESTATED:
            return []
        if self._product is Product.SPOT:
            return self._spot(ts, order, fill)
        return self._usdm(ts, order, fill)

    # Spot.

    def _spot(self, ts: int, order: Order, fill: Fill | None) -> list[Event]:
        what = "TRADE" if fill is not None else _SPOT_WHAT[order.happened]
        if what == "CANCELED" and status(order) != "CANCELED":
            what = "TRADE_PREVENTION" if status(order) == "EXPIRED_IN_MATCH" else "EXPIRED"
        report = self._report(ts, order, fill, what)
        rules = order.listing.rules
        return [report, self.account_position(ts, order.account, (rules.base_currency, rules.quote_currency), fill)]

    def _report(self, ts: int, order: Order, fill: Fill | None, what: str) -> Event:
        texts, tag = self._texts[order.listing.name], tag_of(order)
        self._execution += 1
        is_canceled = what == "CANCELED"
        quote = money(order.listing.rules.notional(fill.price, fill.qty)) if fill is not None else "0.00000000"
        return {
            "e": "executionReport",
            "E": ms(ts),
            "s": order.listing.name,
            "c": (tag.canceled_by or wire_id(order)) if is_canceled else wire_id(order),
            "S": order.side.name,
            "o": tag.kind,
            "f": tag.time_in_force,
            "q": texts.qty(order.qty),
            "p": texts.price(order.price),
            "P": texts.price(order.trigger_price),
            "F": texts.qty(order.display_qty),
            "g": -1,
            "C": wire_id(order) if is_canceled else "",
            "x": what,
            "X": status(order),
            "r": "NONE",
            "i": order_id(order),
            "l": texts.qty(fill.qty if fill is not None else 0),
            "z": texts.qty(order.filled_qty),
            "L": texts.price(fill.price if fill is not None else 0),
            "n": money(fill.fee) if fill is not None else "0",
            "N": fill.fee_currency if fill is not None else None,
            "T": ms(order.updated_ts),
            "t": trade_id(fill) if fill is not None else -1,
            "I": self._execution,
            "w": order.is_open and (not order.is_stop or bool(order.triggered_ts)),
            "m": fill is not None and fill.is_maker,
            "M": fill is not None,
            "O": ms(order.created_ts),
            "Z": texts.value(order),
            "Y": quote,
            "Q": "0.00000000",
            "W": ms(order.created_ts),
            "V": "EXPIRE_MAKER",
        }

    def account_position(self, ts: int, account: Account, assets: Iterable[str], fill: Fill | None = None) -> Event:
        names = {*assets, *([fill.fee_currency] if fill is not None else [])}
        rows = []
        for asset in sorted(names):
            amount, locked = account.balances.get(asset, 0), self._books.locked(account, asset)
            rows.append({"a": asset, "f": money(amount - locked), "l": money(locked)})
        return {"e": "outboundAccountPosition", "E": ms(ts), "u": ms(ts), "B": rows}

    @staticmethod
    def balance_update(ts: int, move: CashMove) -> Event:
        return {"e": "balanceUpdate", "E": ms(ts), "a": move.currency, "d": money(move.amount), "T": ms(move.ts)}

    # Futures.

    def _usdm(self, ts: int, order: Order, fill: Fill | None) -> list[Event]:
        if order.is_stop and order.happened is Happened.REJECTED:
            return [self._algo_update(ts, order), self._trigger_rejected(ts, order)]
        if order.is_stop and not order.triggered_ts:
            return [self._algo_update(ts, order)]
        if order.happened is Happened.TRIGGERED:
            triggering = self._algo_update(ts, order)
            triggering["o"] |= {"X": "TRIGGERING", "ai": ""}
            return [triggering, self._algo_update(ts, order), self._order_update(ts, order, None)]
        found = [] if fill is None else [self.account_update(ts, order.account, "ORDER", fill), self._trade_lite(ts, order, fill)]
        found.append(self._order_update(ts, order, fill))
        if order.is_stop and not order.is_open:
            found.append(self._algo_update(ts, order))
        return found

    def _order_update(self, ts: int, order: Order, fill: Fill | None) -> Event:
        texts, tag = self._texts[order.listing.name], tag_of(order)
        what = {
            Happened.PLACED: "NEW",
            Happened.TRIGGERED: "NEW",
            Happened.REPLACED: "AMENDMENT",
            Happened.CANCELED: "CANCELED",
            Happened.EXPIRED: "EXPIRED",
            Happened.REJECTED: "EXPIRED",
            Happened.FILLED: "CALCULATED" if order.origin == "forced" else "TRADE",
            Happened.RESTATED: "AMENDMENT",
        }[order.happened]
        if what == "CANCELED" and status(order) != "CANCELED":
            what = "TRADE_PREVENTION" if status(order) == "EXPIRED_IN_MATCH" else "EXPIRED"
        fields: Event = {
            "s": order.listing.name,
            "c": wire_id(order),
            "S": order.side.name,
            "o": book_type(order),
            "f": tag.time_in_force,
            "q": texts.qty(order.qty),
            "p": texts.price(order.price),
            "ap": texts.average(order),
            "sp": texts.price(0),
            "x": what,
            "X": status(order),
            "i": order_id(order),
            "l": texts.qty(fill.qty if fill is not None else 0),
            "z": texts.qty(order.filled_qty),
            "L": texts.price(fill.price if fill is not None else 0),
            "n": money(fill.fee) if fill is not None else "0",
            "N": fill.fee_currency if fill is not None else order.listing.rules.settlement_currency,
            "T": ms(order.updated_ts),
            "t": trade_id(fill) if fill is not None else 0,
            "b": "0",
            "a": "0",
            "m": fill is not None and fill.is_maker,
            "R": order.reduce_only or order.origin == "forced",
            "wt": tag.working_type,
            "ot": tag.kind,
            "ps": "BOTH",
            "cp": tag.close_position,
            "rp": money(fill.profit) if fill is not None else "0",
            "pP": False,
            "si": 0,
            "ss": 0,
            "V": "EXPIRE_MAKER",
            "pm": "NONE",
            "gtd": tag.good_till_ms,
        }
        return {"e": "ORDER_TRADE_UPDATE", "T": ms(order.updated_ts), "E": ms(ts), "o": fields}

    def _trade_lite(self, ts: int, order: Order, fill: Fill) -> Event:
        texts = self._texts[order.listing.name]
        return {
            "e": "TRADE_LITE",
            "E": ms(ts),
            "T": ms(fill.ts),
            "s": order.listing.name,
            "q": texts.qty(order.qty),
            "p": texts.price(order.price),
            "m": fill.is_maker,
            "c": wire_id(order),
            "S": order.side.name,
            "L": texts.price(fill.price),
            "l": texts.qty(fill.qty),
            "t": trade_id(fill),
            "i": order_id(order),
        }

    def _algo_update(self, ts: int, order: Order) -> Event:
        texts, tag = self._texts[order.listing.name], tag_of(order)
        state = algo_status(order)
        is_on_book = state in ("TRIGGERED", "FINISHED")
        fields = {
            "caid": order.client_id,
            "aid": algo_id(order),
            "at": "CONDITIONAL",
            "o": tag.kind,
            "s": order.listing.name,
            "S": order.side.name,
            "ps": "BOTH",
            "f": tag.time_in_force,
            "q": texts.qty(order.qty),
            "X": state,
            "ai": str(order_id(order)) if is_on_book else "",
            "ap": texts.average(order),
            "aq": texts.qty(order.filled_qty),
            "act": book_type(order) if is_on_book else "",
            "tp": texts.price(order.trigger_price),
            "p": texts.price(order.price),
            "V": "EXPIRE_MAKER",
            "wt": tag.working_type,
            "pm": "NONE",
            "cp": tag.close_position,
            "pP": False,
            "R": order.reduce_only,
            "tt": ms(order.triggered_ts),
            "gtd": tag.good_till_ms,
            "rm": order.cause if state == "REJECTED" else "",
        }
        return {"e": "ALGO_UPDATE", "T": ms(order.updated_ts), "E": ms(ts), "o": fields}

    @staticmethod
    def _trigger_rejected(ts: int, order: Order) -> Event:
        fields = {"s": order.listing.name, "i": order_id(order), "r": order.cause or "Margin is insufficient."}
        return {"e": "CONDITIONAL_ORDER_TRIGGER_REJECT", "E": ms(ts), "T": ms(order.updated_ts), "or": fields}

    def account_update(self, ts: int, account: Account, why: str, cause: Fill | CashMove) -> Event:
        if isinstance(cause, Fill):
            currency, change = cause.fee_currency, 0
        else:
            currency, change = cause.currency, cause.amount
        settled = {currency, "USDT"} if isinstance(cause, Fill) else {currency}
        balances = [
            {
                "a": name,
                "wb": money(account.balances.get(name, 0)),
                "cw": money(account.balances.get(name, 0)),
                "bc": money(change),
            }
            for name in sorted(settled)
        ]
        positions = [self._position(cause.order.account, cause.order.listing.name)] if isinstance(cause, Fill) else []
        fields = {"m": why, "B": balances, "P": positions}
        return {"e": "ACCOUNT_UPDATE", "E": ms(ts), "T": ms(ts), "a": fields}

    def _position(self, account: Account, symbol: str) -> Event:
        texts = self._texts[symbol]
        listing = texts.market.listing
        held = account.holding(listing)
        entry = entry_price(texts, account)
        return {
            "s": symbol,
            "pa": texts.qty(held.qty),
            "ep": entry,
            "bep": entry,
            "cr": money(held.realized),
            "up": money(self._books.unrealized(account, listing)),
            "mt": "cross",
            "iw": "0",
            "ps": "BOTH",
        }
