"""What each account's balance has become, row by row, as private/get_transaction_log shows it. Pure.

Fees, premiums of options and transfers move the balance at once. What futures have gained and a perpetual's funding wait in the
session until it is settled, at 08:00 UTC; what is open then is settled at the mark. A contract that ends is delivered.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from core.enums import Side
from core.units import POW10
from sim.venues.deribit.ledger import Account, Fill, Ledger
from sim.venues.deribit.markets import Market, number

ROWS_MAX = 250  # of one answer; documented
ROWS_DEFAULT = 100
MONEY = 8

Row = dict[str, Any]


class Wallets:
    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._row_number = 60_000

    def open(self, account: Account) -> None:
        """From here on its rows are written."""
        account.wallet = dict(account.cash)

    def _write(self, ts: int, account: Account, currency: str, kind: str, change: int, **more: Any) -> Row:
        self._row_number += 1
        assert account.wallet is not None
        account.wallet[currency] = account.wallet.get(currency, 0) + change
        row = {
            "id": self._row_number,
            "user_seq": len(account.log) + 1,
            "user_id": account.number,
            "username": account.name,
            "type": kind,
            "timestamp": ts // 1_000_000,
            "currency": currency,
            "change": number(change, MONEY),
            "cashflow": number(change, MONEY),
            "balance": number(account.wallet[currency], MONEY),
            "equity": number(account.cash.get(currency, 0), MONEY),
            "commission": number(0, MONEY),
            "instrument_name": None,
            "side": "-",
            "trade_id": None,
            "order_id": None,
            "position": None,
            "price": None,
            "interest_pl": None,
            "info": {},
            **more,
        }
        account.log.append(row)
        return row

    def traded(self, ts: int, fill: Fill, is_closing: bool) -> None:
        """Behind the booking of `fill`."""
        order = fill.order
        account, market = order.account, order.market
        if account.wallet is None:
            return
        holding = account.holding(market.name)
        premium = 0
        if market.kind == "option":
            value = market.rules.notional(fill.price, fill.amount)
            premium = -value if order.side is Side.BUY else value
        interest, holding.interest_new = holding.interest_new, 0
        # A fee in another currency is a row of its own.
        is_odd = fill.fee_currency != market.rules.settlement_currency
        self._write(
            ts,
            account,
            market.rules.settlement_currency,
            "trade",
            premium - (0 if is_odd else fill.fee),
            commission=number(fill.fee, MONEY),
            instrument_name=market.name,
            side=f"{'close' if is_closing else 'open'} {'buy' if order.side is Side.BUY else 'sell'}",
            amount=market.amount(fill.amount),
            price=market.price(fill.price),
            position=market.amount(holding.size),
            trade_id=fill.trade_id,
            order_id=order.order_id,
            interest_pl=number(interest, MONEY) if market.settlement_period == "perpetual" else None,
            user_role="maker" if fill.is_maker else "taker",
            profit_as_cashflow=market.kind == "option",
        )
        if is_odd:
            named = {"instrument_name": market.name, "trade_id": fill.trade_id, "order_id": order.order_id}
            self._write(ts, account, fill.fee_currency, "trade", -fill.fee, **named)

    def transfer(self, ts: int, account: Account, currency: str, amount: int, kind: str) -> None:
        account.cash[currency] = account.cash.get(currency, 0) + amount
        self._write(ts, account, currency, kind, amount)
        self._moved(ts, account, currency, amount, kind)

    def _moved(self, ts: int, account: Account, currency: str, amount: int, cause: str, name: str = "") -> None:
        if amount:
            self._ledger.cash.append(
                {
                    "account": account.name,
                    "instrument_id": f"{name}.DERIBIT" if name else "",
                    "currency": currency,
                    "amount": amount,
                    "ts": ts,
                    "cause": cause,
                }
            )

    def accrue(self, account: Account, market: Market, amount: int) -> None:
        """Funding: the session's until it is settled."""
        holding = account.holding(market.name)
        holding.interest += amount
        holding.interest_new += amount
        holding.session_gain += amount

    def settle(self, ts: int, accounts: Iterable[Account], markets: Iterable[Market]) -> None:
        """The session ends: its gains and its funding go into the balance."""
        kinds = [market for market in markets if market.kind == "future"]
        for account in accounts:
            for market in kinds:
                if market.name in account.holdings:
                    self._settle(ts, account, market)

    def _settle(self, ts: int, account: Account, market: Market) -> None:
        holding, rules = account.holding(market.name), market.rules
        mark = market.mark or market.last
        if not (holding.size or holding.session_gain or holding.interest) or not mark:
            return
        open_gain = rules.profit(holding.value_open, rules.notional(mark, holding.size)) - holding.settled
        gained, interest, new = holding.session_gain, holding.interest, holding.interest_new
        holding.settled += open_gain
        holding.session_gain = holding.interest = holding.interest_new = 0
        currency, is_perpetual = rules.settlement_currency, market.settlement_period == "perpetual"
        account.cash[currency] = account.cash.get(currency, 0) + interest
        self._write(
            ts,
            account,
            currency,
            "settlement",
            open_gain + gained,
            commission=None,
            instrument_name=market.name,
            side="long" if holding.size > 0 else "short",
            amount=market.amount(abs(holding.size)),
            position=market.amount(holding.size),
            price=market.price(mark),
            session_upl=number(open_gain, MONEY),
            session_rpl=number(gained, MONEY),
            interest_pl=number(new, MONEY) if is_perpetual else None,
            **({"total_interest_pl": number(interest, MONEY)} if is_perpetual else {}),
            info={"settlement_price": market.price(mark), "floating_pl": number(open_gain, MONEY)},
        )
        self._moved(ts, account, currency, interest, "funding", market.name)

    def deliver(self, ts: int, accounts: Iterable[Account], market: Market, price: int) -> None:
        """The contract ends. `price`: of a future its last one in points; of an option the index, whole units of the quote."""
        for account in accounts:
            holding, rules = account.holdings.get(market.name), market.rules
            if holding is None or not holding.size:
                continue
            size = holding.size
            value = _payoff(market, size, price) if market.kind == "option" else rules.notional(price, size)
            gain = rules.profit(holding.value_open, value)
            change = value if market.kind == "option" else gain - holding.settled + holding.session_gain
            account.cash[rules.settlement_currency] = account.cash.get(rules.settlement_currency, 0) + gain
            account.holdings[market.name] = type(holding)(realized=holding.realized + gain)
            if account.wallet is not None:
                self._write(
                    ts,
                    account,
                    rules.settlement_currency,
                    "delivery",
                    change,
                    instrument_name=market.name,
                    side=f"close {'sell' if size > 0 else 'buy'}",
                    amount=market.amount(abs(size)),
                    position=market.amount(0),
                    price=number(price, 0) if market.kind == "option" else market.price(price),
                    price_currency=market.counter_currency,
                )


def _payoff(market: Market, size: int, index: int) -> int:
    """Of an option that is worth something in the coin, or in the quote where it is linear; 10^-8."""
    inner = index - market.strike if market.option_type == "call" else market.strike - index
    if inner <= 0:
        return 0
    whole = abs(size) * 10**MONEY * inner // POW10[market.rules.qty_scale]
    paid: int = whole // index if market.instrument_type == "reversed" else whole
    return paid if size > 0 else -paid


def page_of(account: Account, currency: str, start_ms: int, end_ms: int, count: int, continuation: int | None) -> Row:
    """The newest first; `continuation` is where the next page begins."""
    found = [
        row
        for row in reversed(account.log)
        if row["currency"] == currency
        and start_ms <= row["timestamp"] <= end_ms
        and (continuation is None or row["id"] <= continuation)
    ]
    return {"logs": found[:count], "continuation": found[count]["id"] if len(found) > count else None}
