"""A strategy for a feed of nothing but prints: buys at each bought print and sells at each sold one."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict

from core.enums import AggressorSide, Side
from core.events import Trade
from core.instruments import Instrument
from core.strategy import Subscription

INSTRUMENT = "ACME.SIM"


class TradeFollower:
    class Params(BaseModel):
        model_config = ConfigDict(extra="forbid")

    def __init__(self, params: Params, instruments: list[Instrument]) -> None:
        self.seen = 0

    def subscriptions(self) -> list[Subscription]:
        return [Subscription(instrument_id=INSTRUMENT, trades=True)]

    def on_trade(self, context: Any, trade: Trade) -> None:
        side = Side.BUY if trade.aggressor_side is AggressorSide.BUY else Side.SELL
        context.cancel_all()
        context.submit(INSTRUMENT, side, 1, trade.price)
