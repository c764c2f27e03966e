"""From an open socket to a connection that may trade: auth, heartbeat, cancel-on-disconnect, instruments, subscriptions. Pure.

One step after the other, and any step that fails ends the connection: an order on a connection that is not armed is worse
than none. Keys that may withdraw are refused (documented scopes: wallet:read_write).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from adapters.deribit import requests
from adapters.deribit.credits import SUBSCRIBE_COST
from adapters.deribit.instruments import VenueInstrument, read_instrument
from adapters.deribit.link import Link
from adapters.deribit.outcomes import CREDENTIALS_REFUSED, SCOPE_REFUSED
from adapters.deribit.settings import DeribitSettings, FactKind
from adapters.deribit.wire import Answer, AuthResult, InstrumentResult, Refusal, decode_ok, decode_result
from core.errors import VenueProtocolError
from core.units import NS_PER_MS, NS_PER_SECOND

USER_CHANNELS = ("user.changes.any.any.raw", "user.portfolio.any")
PLATFORM_CHANNEL = "platform_state"
REFRESH_RETRY_NS = 10 * NS_PER_SECOND
MAY_WITHDRAW = "wallet:read_write"
MAY_TRADE = "trade:read_write"

Step = Callable[[int], None]


class Login:
    """`done` is called when the last step is; `refuse` with what no second try can mend."""

    def __init__(
        self,
        link: Link,
        instruments: dict[str, VenueInstrument],
        settings: DeribitSettings,
        done: Callable[[int], None],
        refuse: Callable[[str], None],
    ) -> None:
        self._link = link
        self._instruments = instruments
        self._settings = settings
        self._done = done
        self._refuse = refuse
        self._steps: deque[Step] = deque()
        self._nonce = ""
        self._wall_ns = 0
        self._refresh_token = ""
        self._refresh_ts: int | None = None
        self._began_ts = 0
        self._renewals: set[int] = set()  # requests of this connection for a fresh token
        self.is_authenticated = False

    def start(self, ts: int, nonce: str, wall_ns: int, *, is_switch: bool = False) -> None:
        """`wall_ns`: the machine's own clock, which the signature is stamped with.

        `is_switch`: auth and heartbeat alone, for a connection that places no order and listens to nothing.
        """
        self._nonce = nonce
        self._wall_ns = wall_ns
        self._began_ts = ts
        is_watch = self._settings.is_watch
        self._steps = deque([self._heartbeat] if is_watch else [self._auth, self._heartbeat])
        if is_switch:
            self._next(ts)
            return
        if not is_watch:
            self._steps.append(self._arm)
        self._steps.extend(self._load(name) for name in self._settings.instrument_names)
        self._steps.append(self._subscribe)
        self._next(ts)

    def stop(self) -> None:
        self._steps.clear()
        self._refresh_ts = None
        self._renewals.clear()
        self.is_authenticated = False

    def is_renewal(self, request_id: int | None) -> bool:
        """Whether this was a request for a fresh token: the login holds whatever becomes of it."""
        return request_id in self._renewals

    def next_ts(self) -> int | None:
        return self._refresh_ts

    def tick(self, ts: int) -> None:
        if self._refresh_ts is not None and self._refresh_ts <= ts:
            self._refresh(ts)

    def _next(self, ts: int) -> None:
        if self._steps:
            self._steps.popleft()(ts)
        else:
            self._done(ts)

    def _ask(
        self, ts: int, build: Callable[[int], bytes], answered: Callable[[int, Answer], None], *, cost: int | None = None
    ) -> None:
        def on_answer(now: int, answer: Answer) -> None:
            try:
                answered(now, answer)
            except VenueProtocolError as error:
                self._link.fact(FactKind.PROTOCOL, str(error))
                self._fail(str(error))

        def on_refusal(_now: int, refusal: Refusal) -> None:
            text = f"the venue refused the login: {refusal.code} {refusal.text}"
            if refusal.code in (SCOPE_REFUSED if self.is_authenticated else CREDENTIALS_REFUSED):
                self._refuse(text)
            self._fail(text)

        self._link.ask(ts, build, on_answer, on_refusal, lambda _now, text: self._fail(text), cost=cost)

    def _fail(self, text: str) -> None:
        self._link.output.close = self._link.output.close or f"login: {text}"

    # The steps.

    def _auth(self, ts: int) -> None:
        self._ask(ts, lambda request_id: self._credentials(ts, request_id, self._nonce), self._authenticated)

    def _credentials(self, ts: int, request_id: int, nonce: str) -> bytes:
        settings = self._settings
        if settings.sign:
            # The signature's stamp is the machine's own clock: what the venue's says is not known yet.
            wall_ms = (self._wall_ns + ts - self._began_ts) // NS_PER_MS
            return requests.auth_signature(request_id, settings.client_id, settings.client_secret, wall_ms, nonce)
        return requests.auth_credentials(request_id, settings.client_id, settings.client_secret)

    def _authenticated(self, ts: int, answer: Answer) -> None:
        result = decode_result(AuthResult, answer.result)
        scopes = result.scope.split()
        if MAY_WITHDRAW in scopes:
            self._refuse("the API key may withdraw: make one without wallet:read_write")
            return
        if MAY_TRADE not in scopes:
            self._refuse(f"the API key may not trade: its scope is {result.scope!r}")
            return
        self._keep_token(ts, result)
        self.is_authenticated = True
        self._next(ts)

    def _keep_token(self, ts: int, result: AuthResult) -> None:
        self._refresh_token = result.refresh_token
        self._refresh_ts = ts + result.expires_in * NS_PER_SECOND * self._settings.refresh_percent // 100

    def _refresh(self, ts: int) -> None:
        """A fresh token while the old one still holds; a failure is tried again until it does not.

        An answer that was lost has taken the refresh token with it: where that is refused, the credentials are shown again.
        """
        token = self._refresh_token
        self._refresh_ts = ts + REFRESH_RETRY_NS

        def build(request_id: int) -> bytes:
            self._renewals.add(request_id)
            if token:
                return requests.auth_refresh(request_id, token)
            return self._credentials(ts, request_id, f"{self._nonce}{request_id:x}")

        def refreshed(now: int, answer: Answer) -> None:
            try:
                self._keep_token(now, decode_result(AuthResult, answer.result))
            except VenueProtocolError as error:
                failed(now, str(error))

        def refused(now: int, refusal: Refusal) -> None:
            self._refresh_token = ""
            failed(now, f"{refusal.code} {refusal.text}")

        def failed(_now: int, why: str) -> None:
            self._link.fact(FactKind.PROTOCOL, f"the token could not be refreshed: {why}")

        self._link.ask(ts, build, refreshed, refused, failed)

    def _heartbeat(self, ts: int) -> None:
        self._ask(ts, lambda request_id: requests.set_heartbeat(request_id, self._settings.heartbeat_s), self._ok)

    def _arm(self, ts: int) -> None:
        self._ask(ts, requests.enable_cancel_on_disconnect, self._ok)

    def _ok(self, ts: int, answer: Answer) -> None:
        decode_ok(answer.result)
        self._next(ts)

    def _load(self, name: str) -> Step:
        def step(ts: int) -> None:
            self._ask(ts, lambda request_id: requests.get_instrument(request_id, name), self._loaded)

        return step

    def _loaded(self, ts: int, answer: Answer) -> None:
        found = decode_result(InstrumentResult, answer.result)
        venue = read_instrument(found)
        if venue is None or found.instrument_name not in self._settings.instrument_names:
            raise VenueProtocolError(f"{found.instrument_name} ({found.kind}) is not what was asked for, or not supported")
        known = self._instruments.get(venue.name)
        if known is not None and known.instrument != venue.instrument:
            # Prices in flight are counted in the old scale: not to be changed under a running strategy.
            self._link.fact(FactKind.RULES, f"{venue.name}: the rules have changed: {venue.instrument} from {known.instrument}")
            if (known.instrument.price_scale, known.instrument.qty_scale) != (
                venue.instrument.price_scale,
                venue.instrument.qty_scale,
            ):
                self._refuse(f"{venue.name}: prices or amounts are finer than before: restart to load them")
                return
        self._instruments[venue.name] = venue
        self._next(ts)

    def _subscribe(self, ts: int) -> None:
        settings = self._settings
        channels = [PLATFORM_CHANNEL] if settings.is_watch else [*USER_CHANNELS, PLATFORM_CHANNEL]
        for name in settings.instrument_names:
            channels += [f"book.{name}.{settings.book_interval}", f"trades.{name}.{settings.book_interval}"]
        batches = [channels[at : at + settings.subscribe_batch] for at in range(0, len(channels), settings.subscribe_batch)]
        for batch in batches:
            self._steps.append(self._subscribe_to(batch))
        self._next(ts)

    def _subscribe_to(self, channels: list[str]) -> Step:
        is_public = self._settings.is_watch

        def answered(now: int, answer: Answer) -> None:
            missing = set(channels) - set(decode_result(list[str], answer.result)) - {"user.portfolio.any"}
            if missing:
                raise VenueProtocolError(f"the venue did not subscribe to {sorted(missing)}")
            self._next(now)

        def step(ts: int) -> None:
            self._ask(
                ts,
                lambda request_id: requests.subscribe(request_id, channels, is_public=is_public),
                answered,
                cost=SUBSCRIBE_COST,
            )

        return step
