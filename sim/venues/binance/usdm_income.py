"""What moved the futures account's money, as its income history has it: trades' profits and commissions, and what no trade is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from core.units import NS_PER_DAY, NS_PER_MS, NS_PER_SECOND
from sim.venues.binance.desk import Call, Desk
from sim.venues.binance.orders import money, ms, trade_id

ROWS_MAX = 1000
ROWS = 100
WINDOW_NS = 7 * NS_PER_DAY  # where no time is asked for
KEPT_NS = 90 * NS_PER_DAY
# [?] How long the history is behind the account is nowhere said.
BEHIND_NS = NS_PER_SECOND
KINDS = {"funding": "FUNDING_FEE", "insurance clear": "INSURANCE_CLEAR"}
MOVE_IDS, PROFIT_IDS, COMMISSION_IDS = 9_000_000, 4 * 10**17, 7 * 10**17  # far apart, and beyond what a double holds

Row = dict[str, Any]


class UsdmIncome:
    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def rows(self, call: Call) -> list[Row]:
        """Oldest first, page by page."""
        params, now = call.params, call.ts
        start = params.integer("startTime", 0) * NS_PER_MS
        end = params.integer("endTime", 2**43) * NS_PER_MS + NS_PER_MS - 1
        if not params.get("startTime") and not params.get("endTime"):
            start = now - WINDOW_NS
        start, end = max(start, now - KEPT_NS), min(end, now - BEHIND_NS)
        kind, symbol = params.get("incomeType"), params.get("symbol")
        found = [
            row
            for ts, row in sorted(self._all(call), key=lambda each: each[0])
            if start <= ts <= end and kind in ("", row["incomeType"]) and symbol in ("", row["symbol"])
        ]
        limit, page = params.integer("limit", ROWS, ROWS_MAX), max(params.integer("page", 1), 1)
        return found[limit * (page - 1) : limit * page]

    def _all(self, call: Call) -> Iterator[tuple[int, Row]]:
        for index, move in enumerate(self._desk.books.moves):
            if move.account is call.account:
                kind = KINDS.get(move.cause, "TRANSFER")
                symbol = "" if move.listing is None else move.listing.name
                yield move.ts, _row(kind, symbol, move.amount, move.currency, move.ts, MOVE_IDS + index)
        for symbol in self._desk.markets:
            for fill in self._desk.fills_of(call.account, symbol):
                trade, settled_in = trade_id(fill), fill.order.listing.rules.settlement_currency
                fee = _row("COMMISSION", symbol, -fill.fee, fill.fee_currency, fill.ts, COMMISSION_IDS + fill.number, trade)
                yield fill.ts, fee
                if fill.profit:
                    yield fill.ts, _row("REALIZED_PNL", symbol, fill.profit, settled_in, fill.ts, PROFIT_IDS + fill.number, trade)


def _row(kind: str, symbol: str, amount: int, currency: str, ts: int, number: int, trade: int | None = None) -> Row:
    return {
        "symbol": symbol,
        "incomeType": kind,
        "income": money(amount),
        "asset": currency,
        "info": kind,
        "time": ms(ts),
        "tranId": number,
        "tradeId": "" if trade is None else str(trade),
    }
