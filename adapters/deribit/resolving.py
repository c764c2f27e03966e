"""What became of an order: asks the venue until a fact says so. The only way out of UNKNOWN, and never by counting retries.

- Found: what the venue shows is what happened. While an edit may still come (its valid_until has not passed), it is asked again.
- Not found: proves that the order never happened only by two reads, each begun by the server's own clock after valid_until
and a margin:
  from then on the engine does not begin with the request any more.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from adapters.deribit import requests
from adapters.deribit.link import Link
from adapters.deribit.outcomes import ORDER_IS_GONE
from adapters.deribit.settings import FactKind
from adapters.deribit.tracker import Tracked, Tracker
from adapters.deribit.truth import Truth
from adapters.deribit.wire import Answer, Order, Refusal, TradesResult, UserTrade, decode_result
from core.enums import Reason
from core.errors import VenueProtocolError

NOT_FOUND_READS = 2
SINCE_MARGIN_MS = 60_000  # executions are looked for from so long before the order was made


@dataclass(slots=True)
class Case:
    """`bound_ms`: the server's stamp after which nothing that we sent can still begin. `asking`: a question is under way."""

    tracked: Tracked
    bound_ms: int
    next_ts: int
    not_found: int = 0
    asking: bool = False
    number: int = 0  # of the question under way: an answer to an older one is none


class Resolver:
    """One case per order. `apply` takes order objects and trades in, as the user stream does."""

    def __init__(self, link: Link, tracker: Tracker, apply: Callable[[int, list[Order], list[UserTrade]], None]) -> None:
        self._link = link
        self._tracker = tracker
        self._apply = apply
        self._cases: dict[int, Case] = {}
        self._fills_due: dict[int, int] = {}  # order whose fills have not all come: when to ask
        self._number = 0
        self.is_active = False  # from the login on

    @property
    def is_idle(self) -> bool:
        return not self._cases

    def add(self, ts: int, tracked: Tracked, bound_ms: int) -> None:
        """Find out what became of `tracked`; a case that is open already waits for the later bound.

        Never before what was sent for it has run out: a cancel may overtake the order that it is for.
        """
        bound_ms = max(bound_ms, tracked.valid_until_ms)
        case = self._cases.get(tracked.client_order_id)
        if case is None:
            self._cases[tracked.client_order_id] = Case(tracked, bound_ms, ts)
        else:
            case.bound_ms, case.not_found = max(case.bound_ms, bound_ms), 0

    def fills_missing(self, ts: int, tracked: Tracked) -> None:
        self._fills_due.setdefault(tracked.client_order_id, ts + self._link.settings.missing_fill_ns)

    def next_ts(self) -> int | None:
        if not self.is_active:
            return None
        due = [case.next_ts for case in self._cases.values() if not case.asking]
        return min([*due, *self._fills_due.values()], default=None)

    def disconnected(self) -> None:
        """Questions under way were lost; the cases stay."""
        self.is_active = False
        for case in self._cases.values():
            case.asking = False
        self._fills_due.clear()

    def tick(self, ts: int) -> None:
        if not self.is_active:
            return
        for case in list(self._cases.values()):
            if not case.asking and case.next_ts <= ts:
                self._ask(ts, case)
        for client_order_id, due_ts in list(self._fills_due.items()):
            if due_ts <= ts:
                del self._fills_due[client_order_id]
                tracked = self._tracker.orders.get(client_order_id)
                if tracked is not None and tracked.filled < tracked.venue_filled:
                    self._ask_fills(ts, tracked)

    # Orders.

    def _ask(self, ts: int, case: Case) -> None:
        self._number += 1
        case.asking, case.number, number = True, self._number, self._number
        tracked = case.tracked

        def build(request_id: int) -> bytes:
            if tracked.order_id:
                return requests.get_order_state(request_id, tracked.order_id)
            return requests.get_order_state_by_label(request_id, tracked.venue.currency, tracked.label)

        def answered(now: int, answer: Answer) -> None:
            if case.number != number:
                return
            case.asking, case.next_ts = False, now + self._link.settings.resolve_interval_ns
            self._answered(now, case, answer)

        def refused(now: int, refusal: Refusal) -> None:
            if case.number != number:
                return
            case.asking, case.next_ts = False, now + self._link.settings.resolve_interval_ns
            if refusal.code in ORDER_IS_GONE:
                self._not_found(now, case, refusal.us_in)

        def lost(now: int, _text: str) -> None:
            if case.number == number:
                case.asking, case.next_ts = False, now + self._link.settings.resolve_interval_ns

        self._link.ask(ts, build, answered, refused, lost)

    def _answered(self, ts: int, case: Case, answer: Answer) -> None:
        try:
            # By id the answer is one order, by label a list.
            is_list = bytes(answer.result)[:1] == b"["
            orders = decode_result(list[Order], answer.result) if is_list else [decode_result(Order, answer.result)]
            ours = [order for order in orders if order.label == case.tracked.label]
            if len(ours) != len(orders):
                raise VenueProtocolError(f"asked for {case.tracked.label}, and got {len(orders)} orders")
            self._apply(ts, ours, [])
        except VenueProtocolError as error:
            self._link.fact(FactKind.PROTOCOL, str(error))
            return
        if ours:
            self._found(ts, case, answer.us_in)
        else:
            self._not_found(ts, case, answer.us_in)

    def _is_past(self, case: Case, us_in: int) -> bool:
        return us_in // 1000 > case.bound_ms + self._link.settings.server_clock_error_ms

    def _found(self, ts: int, case: Case, us_in: int) -> None:
        tracked = case.tracked
        if not tracked.is_ended and tracked.edit_wanted is not None and not self._is_past(case, us_in):
            return  # the edit may still come
        self._close(case)
        if tracked.is_ended:
            return
        if tracked.is_unknown:
            self._tracker.still_open(ts, tracked)
        elif tracked.cancel_wanted:
            self._tracker.not_canceled(ts, tracked)

    def _not_found(self, ts: int, case: Case, us_in: int) -> None:
        tracked = case.tracked
        if tracked.is_ended:
            self._close(case)
            return
        if not self._is_past(case, us_in):
            return
        case.not_found += 1
        if case.not_found >= NOT_FOUND_READS:
            self._look_everywhere(ts, case)

    def _look_everywhere(self, ts: int, case: Case) -> None:
        """What one query does not find another may: only where all agree is it so."""
        self._number += 1
        case.asking, case.number, number = True, self._number, self._number
        tracked = case.tracked

        def done(now: int, truth: Truth) -> None:
            if case.number != number:
                return
            case.asking = False
            ours = [order for order in truth.orders if order.label == tracked.label]
            trades = [trade for trade in truth.trades if trade.label == tracked.label or trade.order_id == tracked.order_id]
            self._apply(now, ours, trades)
            if ours or tracked.is_ended:
                self._found(now, case, case.bound_ms * 1_000)
            else:
                self._conclude(now, case)

        def failed(now: int, _text: str) -> None:
            if case.number == number:
                case.asking, case.not_found = False, 0
                case.next_ts = now + self._link.settings.resolve_interval_ns

        since_ms = tracked.created_ms + (self._link.clock_offset_ms or 0) - SINCE_MARGIN_MS
        Truth(self._link, self._tracker.instruments, since_ms, _never_changes, done, failed, rounds_max=1).start(ts)

    def _conclude(self, ts: int, case: Case) -> None:
        tracked = case.tracked
        self._close(case)
        if tracked.is_accepted or tracked.filled:
            self._tracker.vanished(ts, tracked, "the venue had accepted it, and does not know it any more")
        else:
            self._tracker.refused(
                ts, tracked, Reason.UNKNOWN_ORDER, "it never happened: not found twice after its valid_until had passed"
            )

    def _close(self, case: Case) -> None:
        self._cases.pop(case.tracked.client_order_id, None)
        case.number = 0

    # Fills.

    def _ask_fills(self, ts: int, tracked: Tracked) -> None:
        order_id = tracked.order_id

        def answered(now: int, answer: Answer) -> None:
            # Documented as a list; wrapped with has_more like the other trade queries in some examples.
            is_list = bytes(answer.result)[:1] == b"["
            try:
                if is_list:
                    trades = decode_result(list[UserTrade], answer.result)
                else:
                    trades = decode_result(TradesResult, answer.result).trades
                self._apply(now, [], trades)
            except VenueProtocolError as error:
                self._link.fact(FactKind.PROTOCOL, str(error))
            if tracked.filled < tracked.venue_filled:
                self.fills_missing(now, tracked)

        def again(now: int, _why: object) -> None:
            self.fills_missing(now, tracked)

        self._link.ask(ts, lambda request_id: requests.get_user_trades_by_order(request_id, order_id), answered, again, again)


def _never_changes() -> int:
    return 0
