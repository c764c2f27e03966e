"""The guardian's view of an OANDA account: core.venue_switch.VenueSwitch over requests of its own.

OANDA has no call that cancels everything and no dead-man switch: what waits is listed and canceled one by one, whoever placed it,
and positions are closed by the venue's own call, which can only reduce.
"""

from __future__ import annotations

from adapters.http.io import HttpTransport
from adapters.http.request import Intent, Outcome, Request, Sent, T
from adapters.oanda.codec import OandaCodec
from adapters.oanda.desk import Desk
from adapters.oanda.exact import decimal_of
from adapters.oanda.outcomes import NO_SUCH_ORDER, NO_SUCH_POSITION
from adapters.oanda.rules import check_account, check_token
from adapters.oanda.wire import AccountAnswer
from core.errors import ConfigError, RefusedError, TransportError, VenueProtocolError
from core.venue_adapter import VenueOrder
from core.venue_opening import Environment

UNITS_SCALE = 12  # finer than any instrument's: only the sign counts


class OandaSwitch:
    def __init__(
        self,
        *,
        venue: str,
        account: str,
        environment: Environment,
        account_prefix: str,
        codec: OandaCodec,
        http: HttpTransport,
        desk: Desk,
    ) -> None:
        self._venue = venue
        self._account = account
        self._environment = environment
        self._account_prefix = account_prefix
        self._codec = codec
        self._http = http
        self._desk = desk

    @property
    def venue(self) -> str:
        return self._venue

    async def open(self) -> None:
        try:
            accounts = await self._ask(self._codec.accounts())
            check_token(accounts, self._account, self._environment, self._account_prefix)
            check_account((await self._ask(self._codec.account())).account, self._account)
        except (ConfigError, VenueProtocolError) as error:
            raise RefusedError(f"{self._venue}: {error}") from error

    async def cancel_all(self) -> None:
        listed = await self._ask(self._codec.pending_orders(Intent.CANCEL))
        failures = [
            f"order {order.id}: {sent.outcome.name} {sent.reason}"
            for order, sent in zip(
                listed.orders, await self._http.send_all([self._codec.cancel(order.id) for order in listed.orders]), strict=True
            )
            # One that is over was what was wanted.
            if sent.outcome in (Outcome.NOT_SENT_PROVEN, Outcome.REJECTED_PROVEN) and sent.reason != NO_SUCH_ORDER
        ]
        if failures:
            raise TransportError(f"{self._venue}: not everything could be canceled: {'; '.join(failures[:10])}")

    async def open_orders(self) -> tuple[VenueOrder, ...]:
        """Of every instrument, configured or not."""
        body = (await self._account_now()).account
        try:
            return self._desk.venue_orders(body)
        except VenueProtocolError as error:
            raise TransportError(f"{self._venue}: open orders that cannot be read: {error}") from error

    async def positions(self) -> dict[str, int]:
        """Of the configured instruments; `flatten` closes those of others, too."""
        body = (await self._account_now()).account
        try:
            return self._desk.positions(body)
        except VenueProtocolError as error:
            raise TransportError(f"{self._venue}: positions that cannot be read: {error}") from error

    async def flatten(self) -> None:
        """Every position of the account by the venue's own call, none of them twice."""
        listed = await self._ask(self._codec.open_positions())
        held = [
            (position.instrument, is_long)
            for position in listed.positions
            for side, is_long in ((position.long, True), (position.short, False))
            if decimal_of(side.units, UNITS_SCALE, "units")
        ]
        answers = await self._http.send_all([self._codec.close_position(name, is_long=is_long) for name, is_long in held])
        failures = []
        for (name, _), sent in zip(held, answers, strict=True):
            if sent.value is not None:
                canceled = sent.value.long_cancel or sent.value.short_cancel
                failures += [] if canceled is None else [f"{name}: {canceled.reason}"]
            elif sent.outcome is not Outcome.UNKNOWN and sent.reason != NO_SUCH_POSITION:
                failures.append(f"{name}: {sent.outcome.name} {sent.reason}")
        if failures:
            raise TransportError(f"{self._venue}: not everything could be closed: {'; '.join(failures[:10])}")

    async def refresh_dead_man(self, timeout_s: float) -> bool:
        del timeout_s
        return False

    async def close(self) -> None:
        await self._http.aclose()

    async def _account_now(self) -> AccountAnswer:
        return await self._ask(self._codec.account(Intent.CANCEL))

    async def _ask(self, request: Request[T]) -> T:
        sent: Sent[T] = await self._http.send(request)
        if sent.value is None:
            text = f"{self._venue}: {request.name}: {sent.outcome.name} {sent.reason}"
            is_refused = sent.outcome is Outcome.REJECTED_PROVEN and sent.code in (401, 403)
            raise RefusedError(text) if is_refused else TransportError(text)
        return sent.value
