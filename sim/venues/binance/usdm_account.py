"""The futures account: balances, positions, margin, leverage, liquidation price."""

from __future__ import annotations

from typing import Any

from core.units import divide_half_even
from sim.venues.binance.desk import Call, Desk
from sim.venues.binance.markets import USD, Bracket, Market
from sim.venues.binance.orders import entry_price, money, ms
from sim.venues.binance.wire import ApiError
from sim.venues.exchange.model import Account

LEVERAGE_FIRST = 20
SETTLED_IN = "USDT"
BASIS_POINTS = 10_000


class UsdmAccount:
    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def open_account(self, account: Account) -> None:
        for symbol in self._desk.markets:
            account.leverage.setdefault(symbol, LEVERAGE_FIRST)

    # Margin.

    def bracket(self, market: Market, account: Account) -> Bracket:
        value = abs(market.rules.notional(market.listing.reference, account.qty(market.listing)))
        return next((each for each in market.brackets if value <= each.cap * USD), market.brackets[-1])

    def maintenance(self, market: Market, account: Account) -> int:
        """Maintenance margin of a position: the notional by its bracket's ratio, less what the brackets below ask less."""
        value = abs(market.rules.notional(market.listing.reference, account.qty(market.listing)))
        if not value:
            return 0
        bracket: Bracket = self.bracket(market, account)
        return value * bracket.ratio_bp // BASIS_POINTS - bracket.cum * USD

    def maintenance_of_all(self, account: Account) -> int:
        return sum(self.maintenance(market, account) for market in self._desk.markets.values())

    def is_bankrupt(self, account: Account) -> bool:
        """Whether what the account is worth does not cover the maintenance of its positions any more."""
        needed = self.maintenance_of_all(account)
        return needed > 0 and self._desk.books.equity(account, SETTLED_IN) < needed

    def liquidation_price(self, market: Market, account: Account) -> int:
        """Points; 0: none. Where the wallet and this position are worth its maintenance margin, all others as they are."""
        rules, held = market.rules, account.positions.get(market.symbol)
        if held is None or not held.qty:
            return 0
        books, bracket = self._desk.books, self.bracket(market, account)
        others = books.equity(account, SETTLED_IN) - books.unrealized(account, market.listing)
        others -= sum(self.maintenance(each, account) for each in self._desk.markets.values() if each is not market)
        # wallet + qty * (p - entry) = |qty| * p * ratio - cum, in money of one point and unit.
        unit = rules.notional(1, 1)
        numerator = (others - held.value_open + bracket.cum * USD) * BASIS_POINTS
        denominator = (abs(held.qty) * bracket.ratio_bp - held.qty * BASIS_POINTS) * unit
        if not denominator:
            return 0
        price = divide_half_even(numerator * (1 if denominator > 0 else -1), abs(denominator))
        return max(price, 0)

    # Answers.

    def account(self, call: Call) -> dict[str, Any]:
        account, books = call.account, self._desk.books
        equity, wallet = books.equity(account, SETTLED_IN), account.balances.get(SETTLED_IN, 0)
        used, free = books.margin_used(account, SETTLED_IN), max(books.available(account, SETTLED_IN), 0)
        totals = {
            "totalInitialMargin": money(used),
            "totalMaintMargin": money(self.maintenance_of_all(account)),
            "totalWalletBalance": money(wallet),
            "totalUnrealizedProfit": money(equity - wallet),
            "totalMarginBalance": money(equity),
            "totalPositionInitialMargin": money(used),
            "totalOpenOrderInitialMargin": "0.00000000",
            "totalCrossWalletBalance": money(wallet),
            "totalCrossUnPnl": money(equity - wallet),
            "availableBalance": money(free),
            "maxWithdrawAmount": money(free),
        }
        assets = [self._asset(account, asset, ms(call.ts)) for asset in sorted(account.balances)]
        positions = [self._account_position(market, account, ms(call.ts)) for market in self._held(account)]
        return {**totals, "assets": assets, "positions": positions}

    def account_v2(self, call: Call) -> dict[str, Any]:
        """With what the older version tells besides, of every symbol."""
        found = self.account(call)
        may_trade = call.client.may["enableFutures"]
        rows = [self._account_position_v2(market, call.account, ms(call.ts)) for market in self._desk.markets.values()]
        flags = {"feeTier": 0, "canTrade": may_trade, "canDeposit": True, "canWithdraw": True, "updateTime": 0}
        return {**flags, "multiAssetsMargin": False, "tradeGroupId": -1, **found, "positions": rows}

    def _account_position_v2(self, market: Market, account: Account, stamp: int) -> dict[str, Any]:
        row = self._account_position(market, account, stamp)
        kept = {name: row[name] for name in row if name not in ("isolatedMargin", "isolatedWallet", "notional")}
        leverage = account.leverage.get(market.symbol, LEVERAGE_FIRST)
        cap = next((each.cap for each in reversed(market.brackets) if each.leverage >= leverage), market.brackets[0].cap)
        entry = entry_price(self._desk.texts[market.symbol], account)
        return kept | {
            "positionInitialMargin": row["initialMargin"],
            "openOrderInitialMargin": "0",
            "leverage": str(leverage),
            "isolated": False,
            "entryPrice": entry,
            "breakEvenPrice": entry,
            "maxNotional": str(cap),
            "bidNotional": "0",
            "askNotional": "0",
        }

    def _asset(self, account: Account, asset: str, stamp: int) -> dict[str, Any]:
        books, wallet = self._desk.books, account.balances[asset]
        equity, used = books.equity(account, asset), books.margin_used(account, asset)
        free = max(books.available(account, asset), 0)
        maintenance = self.maintenance_of_all(account) if asset == SETTLED_IN else 0
        return {
            "asset": asset,
            "walletBalance": money(wallet),
            "unrealizedProfit": money(equity - wallet),
            "marginBalance": money(equity),
            "maintMargin": money(maintenance),
            "initialMargin": money(used),
            "positionInitialMargin": money(used),
            "openOrderInitialMargin": "0.00000000",
            "crossWalletBalance": money(wallet),
            "crossUnPnl": money(equity - wallet),
            "availableBalance": money(free),
            "maxWithdrawAmount": money(free),
            "marginAvailable": True,
            "updateTime": stamp,
        }

    def balance(self, call: Call) -> list[dict[str, Any]]:
        account, books, rows = call.account, self._desk.books, []
        for asset, wallet in sorted(account.balances.items()):
            free = money(max(books.available(account, asset), 0))
            rows.append(
                {
                    "accountAlias": f"alias{account.number}",
                    "asset": asset,
                    "balance": money(wallet),
                    "crossWalletBalance": money(wallet),
                    "crossUnPnl": money(books.equity(account, asset) - wallet),
                    "availableBalance": free,
                    "maxWithdrawAmount": free,
                    "marginAvailable": True,
                    "updateTime": ms(call.ts),
                }
            )
        return rows

    def _held(self, account: Account) -> list[Market]:
        """With a position or with orders."""
        desk = self._desk
        return [
            market
            for market in desk.markets.values()
            if account.qty(market.listing) or desk.exchange.open_orders(account, market.listing)
        ]

    def _account_position(self, market: Market, account: Account, stamp: int) -> dict[str, Any]:
        texts, books = self._desk.texts[market.symbol], self._desk.books
        qty, used = account.qty(market.listing), books.margin_of(account, market.listing)[0]
        return {
            "symbol": market.symbol,
            "positionSide": "BOTH",
            "positionAmt": texts.qty(qty),
            "unrealizedProfit": money(books.unrealized(account, market.listing)),
            "isolatedMargin": "0",
            "notional": money(market.rules.notional(market.listing.reference, qty)),
            "isolatedWallet": "0",
            "initialMargin": money(used),
            "maintMargin": money(self.maintenance(market, account)),
            "updateTime": stamp,
        }

    def positions(self, call: Call, *, every: bool = False) -> list[dict[str, Any]]:
        params, account, desk = call.params, call.account, self._desk
        wanted = [desk.market(params)] if params.get("symbol") else list(desk.markets.values())
        held = wanted if every else [market for market in wanted if market in self._held(account)]
        return [self._position_risk(market, account, ms(call.ts)) for market in held]

    def positions_v2(self, call: Call) -> list[dict[str, Any]]:
        return self.positions(call, every=True)

    def _position_risk(self, market: Market, account: Account, stamp: int) -> dict[str, Any]:
        texts, books, listing = self._desk.texts[market.symbol], self._desk.books, market.listing
        used = money(books.margin_of(account, listing)[0])
        entry = entry_price(texts, account)
        return {
            "symbol": market.symbol,
            "positionSide": "BOTH",
            "positionAmt": texts.qty(account.qty(listing)),
            "entryPrice": entry,
            "breakEvenPrice": entry,
            "markPrice": texts.price(listing.mark),
            "unRealizedProfit": money(books.unrealized(account, listing)),
            "liquidationPrice": texts.price(self.liquidation_price(market, account)),
            "leverage": str(account.leverage.get(market.symbol, LEVERAGE_FIRST)),
            "marginType": "cross",
            "isolatedMargin": "0",
            "isAutoAddMargin": "false",
            "notional": money(market.rules.notional(listing.reference, account.qty(listing))),
            "marginAsset": SETTLED_IN,
            "isolatedWallet": "0",
            "initialMargin": used,
            "maintMargin": money(self.maintenance(market, account)),
            "positionInitialMargin": used,
            "openOrderInitialMargin": "0",
            "adl": 2 if account.qty(listing) else 0,
            "bidNotional": "0",
            "askNotional": "0",
            "updateTime": stamp,
        }

    # Settings.

    def position_mode(self, call: Call) -> dict[str, Any]:
        return {"dualSidePosition": False}

    def set_position_mode(self, call: Call) -> dict[str, Any]:
        if call.params.flag("dualSidePosition"):
            raise ApiError(-4068, "Position side cannot be changed if there exists position.")
        raise ApiError(-4059, "No need to change position side.")

    def multi_assets(self, call: Call) -> dict[str, Any]:
        return {"multiAssetsMargin": False}

    def set_leverage(self, call: Call) -> dict[str, Any]:
        market = self._desk.market(call.params)
        leverage = call.params.integer("leverage")
        if not 1 <= leverage <= market.listing.leverage_max:
            raise ApiError(-4028, f"Leverage {leverage} is not valid")
        call.account.leverage[market.symbol] = leverage
        most = next((each.cap for each in reversed(market.brackets) if each.leverage >= leverage), market.brackets[0].cap)
        return {"leverage": leverage, "maxNotionalValue": str(most), "symbol": market.symbol}

    def set_margin_type(self, call: Call) -> dict[str, Any]:
        self._desk.market(call.params)
        if call.params.text("marginType") in ("CROSSED", "CROSS"):
            raise ApiError(-4046, "No need to change margin type.")
        raise ApiError(-4047, "Margin type cannot be changed if there exists open orders.")

    def brackets(self, call: Call) -> list[dict[str, Any]]:
        desk, params = self._desk, call.params
        wanted = [desk.market(params)] if params.get("symbol") else list(desk.markets.values())
        return [{"symbol": market.symbol, "notionalCoef": 1.0, "brackets": _brackets(market)} for market in wanted]

    def commission_rate(self, call: Call) -> dict[str, Any]:
        market = self._desk.market(call.params)
        return {"symbol": market.symbol, "makerCommissionRate": "0.0002", "takerCommissionRate": "0.0005"}


def _brackets(market: Market) -> list[dict[str, Any]]:
    return [
        {
            "bracket": index + 1,
            "initialLeverage": each.leverage,
            "notionalCap": each.cap,
            "notionalFloor": each.floor,
            "maintMarginRatio": each.ratio_bp / BASIS_POINTS,
            "cum": float(each.cum),
        }
        for index, each in enumerate(market.brackets)
    ]
