"""When the income history is asked, in virtual time: behind the stream's word, a reconnect and every minute."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import anyio

from adapters.binance.account import Account
from adapters.binance.cash.io import AFTER_NEWS_S, AFTER_RECONNECT_S, AFTER_WORD_S, ASK_S, CashWatch
from adapters.binance.endpoints import Product
from adapters.binance.user_stream import decode_user
from adapters.http.io import HttpTransport
from adapters.http.outcome import answered, failed
from adapters.http.request import Answer, Progress, Request, Sent
from core.events import AnyEvent, CashMoved
from core.units import NS_PER_SECOND
from sim.virtual.agenda import Agenda
from sim.virtual.loop import VirtualLoop
from sim.virtual.network import Network
from tests.adapters.binance.account_for_tests import INSTRUMENTS, NOW, STAMP, STAMP_MS, codec, encoded

FUNDING = decode_user(encoded({"e": "ACCOUNT_UPDATE", "E": 5, "T": 4, "a": {"m": "FUNDING_FEE", "B": [], "P": []}}))


def row(number: int, after_s: int) -> dict[str, Any]:
    where = {"symbol": "BTCUSDT", "incomeType": "FUNDING_FEE", "asset": "USDT"}
    return {**where, "income": "-0.5", "time": STAMP_MS + 1_000 * after_s, "tranId": number, "tradeId": ""}


@dataclass
class FewFields:
    """What of an Account the watch reads."""

    venue: str = "BINANCE"
    product: Product = Product.USDM
    codec: Any = None
    instruments: Any = None

    def now(self) -> int:
        return NOW


class Venue:
    """A history whose rows become visible at a moment of their own, s from the beginning; it says when it was asked."""

    def __init__(self, product: Product = Product.USDM) -> None:
        self.visible: list[tuple[float, dict[str, Any]]] = []
        self.is_away = False
        self.asked: list[float] = []
        self.told: list[AnyEvent] = []
        self.trouble: list[str] = []
        self.began_s = 0.0
        account = FewFields(product=product, codec=codec(product), instruments=INSTRUMENTS[product])
        self.watch = CashWatch(
            cast(Account, account),
            http=lambda: cast(HttpTransport, self),
            venue_now=lambda: STAMP + int(self.elapsed_s() * NS_PER_SECOND),
            emit=self.told.extend,
            tell=self.trouble.append,
        )

    def elapsed_s(self) -> float:
        return anyio.current_time() - self.began_s

    async def send(self, request: Request[Any]) -> Sent[Any]:
        self.asked.append(round(self.elapsed_s()))
        if self.is_away:
            return failed(Progress.ANSWERING, "reset")
        rows = [each for at_s, each in self.visible if self.elapsed_s() >= at_s]
        return answered(request, Answer(200, {}, encoded(rows)), sent_ns=0, answered_ns=0)

    def moved(self) -> list[str]:
        return [event.movement_id for event in self.told if isinstance(event, CashMoved)]


def lived(venue: Venue, seconds: float, *deeds: tuple[float, Callable[[], None]]) -> Venue:
    """The watch runs for so long, and each deed happens when it is due."""

    async def live() -> None:
        venue.began_s = anyio.current_time()
        venue.watch.opened()
        await venue.watch.moves(STAMP)
        with anyio.move_on_after(seconds):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(venue.watch.run)
                for at_s, deed in deeds:
                    tasks.start_soon(later, at_s, deed)
                await anyio.sleep_forever()

    async def later(at_s: float, deed: Callable[[], None]) -> None:
        await anyio.sleep(at_s)
        deed()

    agenda = Agenda()
    task = VirtualLoop(agenda, Network(agenda, 1), "here").create_task(live())
    assert agenda.run_until(task.done, agenda.ns + int((seconds + 10) * NS_PER_SECOND))
    task.result()
    return venue


def test_every_minute_and_behind_a_reconnect() -> None:
    venue = Venue()
    lived(venue, 2.5 * ASK_S, (10.0, venue.watch.reconnected))
    again = 10 + AFTER_RECONNECT_S
    assert venue.asked == [0, again, again + ASK_S, again + 2 * ASK_S]


def test_what_the_stream_tells_of_is_asked_for_until_it_is_there_and_said_once() -> None:
    venue = Venue()
    venue.visible = [(15.5, row(1, 10))]  # it happened at 10 s
    lived(venue, 50.0, (10.0, lambda: venue.watch.heard(FUNDING)))
    found = 10 + AFTER_WORD_S[2]
    assert venue.asked == [0, *(10 + each for each in AFTER_WORD_S[:3]), found + AFTER_NEWS_S]
    assert venue.moved() == ["FUNDING_FEE-1-BTCUSDT-USDT"]


def test_what_was_before_is_left_to_the_question() -> None:
    venue = Venue()
    venue.visible = [(0.0, row(1, -5))]
    lived(venue, 5.0)
    assert venue.moved() == []
    assert [each.movement_id for each in venue.watch._known] == ["FUNDING_FEE-1-BTCUSDT-USDT"]


def test_a_history_that_cannot_be_asked_is_trouble_and_no_more() -> None:
    venue = Venue()
    venue.is_away = True
    lived(venue, 5.0, (1.0, lambda: venue.watch.heard(FUNDING)))
    assert venue.asked == [0, 2, 4]
    assert venue.trouble == ["the income history cannot be asked: UNKNOWN reset"] * 3


def test_spot_is_told_by_its_stream_and_asks_nobody() -> None:
    venue = Venue(Product.SPOT)
    update = decode_user(encoded({"e": "balanceUpdate", "E": STAMP_MS, "a": "BTC", "d": "0.5", "T": STAMP_MS}))
    lived(venue, 100.0, (1.0, lambda: venue.watch.heard(update)))
    assert (venue.asked, venue.moved()) == ([], [f"balance-{STAMP_MS}-BTC-0.5"])
