"""Answers the control socket of a running session. Every action is recorded with who asked and why before it has any effect."""

from __future__ import annotations

from typing import Any

import anyio

from core.enums import TradingState
from core.errors import RefusedError, StorageError
from core.order_store import FOREIGN
from daemon.control.server import LineSource, Reply
from daemon.control.wire import Request
from daemon.timestamps import iso
from daemon.trading.client_requests import ACTION_PATHS, PATHS, ClientRequests
from daemon.trading.correcting import Correcting, Wanted
from daemon.trading.daemon import Daemon
from daemon.trading.reconciling import Reconciliation
from daemon.trading.risk_view import risk_view
from daemon.trading.views import fill_view, instruments_view, order_view, positions_view, profit_view

REASON_CHARACTERS_MAX = 200
WAIT_S = 4.0  # then whoever asked hears how far it is; it goes on, within daemon.stop_timeout
ACTIONS = ("/halt", "/reduce", "/resume", "/flatten", "/reconcile", "/correct", "/stop")
SCOPED = ("/halt", "/reduce", "/resume", "/correct")  # of one strategy too
REASONED = ("/resume", "/correct")  # never without a reason of its own
RESUMED = {"active": TradingState.ACTIVE, "reducing": TradingState.REDUCING}
VIEWS = ("/status", "/orders", "/positions", "/fills", "/strategies")


class Control:
    """The requests of one daemon."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        self._clients = ClientRequests(daemon.session, daemon.loaded.config.clients, daemon.run_id, lambda: daemon.phase)

    async def answer(self, request: Request) -> Reply | LineSource:
        try:
            answer = self._clients.answer(request)
        except StorageError as error:
            return 503, {"error": str(error)}
        if answer is not None:
            return answer
        if request.path in VIEWS:
            if request.method != "GET":
                return 405, {"error": f"{request.path} does not take {request.method}"}
            return 200, self._view(request.path)
        if request.path not in ACTIONS:
            gets, posts = ", ".join((*VIEWS, *PATHS)), ", ".join((*ACTIONS, *ACTION_PATHS))
            return 404, {"error": f"there is no {request.path[:64]} here; GET {gets}; POST {posts}"}
        if request.method != "POST":
            return 405, {"error": f"{request.path} does not take {request.method}"}
        reason = request.body.get("reason", "" if request.path in REASONED else "operator")
        if not isinstance(reason, str) or len(reason) > REASON_CHARACTERS_MAX:
            return 400, {"error": f"reason must be text of at most {REASON_CHARACTERS_MAX} characters"}
        if self._daemon.phase == "stopping":
            return 409, {"error": "the daemon is stopping"}
        try:
            return await self._act(request, reason)
        except RefusedError as error:
            return 409, {"error": str(error)}
        except StorageError as error:
            # The loop finds it too, cancels everything and ends.
            return 503, {"error": str(error)}

    async def _act(self, request: Request, reason: str) -> Reply:
        daemon, strategy_id = self._daemon, request.body.get("strategy_id", "")
        if strategy_id and request.path not in SCOPED:
            return 400, {"error": f"{request.path} is of the whole account"}
        known = ["", FOREIGN] if request.path == "/correct" else [""]
        known += [*(context.strategy_id for context in daemon.session.trader.contexts)]
        if strategy_id not in known:
            return 404, {"error": f"there is no strategy {str(strategy_id)[:64]!r}"}
        state = daemon.session.trader.risk.states.own(strategy_id)
        match request.path:
            case "/halt":
                daemon.set_state("halt", TradingState.HALTED, reason, request.uid, strategy_id)
            case "/reduce":
                if state is TradingState.HALTED:
                    return 409, {"error": "trading is HALTED, which is stricter; only resume loosens it"}
                daemon.set_state("reduce", TradingState.REDUCING, reason, request.uid, strategy_id)
            case "/resume":
                to = RESUMED.get(str(request.body.get("to", "active")))
                if not reason.strip() or to is None:
                    return 400, {"error": "resume needs a reason, which is kept in the journal; `to` is active or reducing"}
                if to > state:
                    return 409, {"error": f"trading is {state.name}, which is looser; reduce makes it stricter"}
                daemon.resume(reason, request.uid, to, strategy_id)
            case "/flatten":
                return await self._flatten(request, reason)
            case "/reconcile":
                return await self._reconcile(reason)
            case "/correct":
                return await self._correct(request, reason, strategy_id)
            case _:
                daemon.stop("stop", request.uid, reason)
                return 200, {**self._brief(reason), "stopping": True}
        return 200, self._brief(reason, strategy_id)

    async def _flatten(self, request: Request, reason: str) -> Reply:
        daemon = self._daemon
        if self._state is TradingState.HALTED and not str(request.body.get("reason", "")).strip():
            return 409, {"error": "trading is HALTED: closing positions needs a reason (--reason); it stays REDUCING then"}
        if daemon.is_flattening:
            return 409, {"error": "it is being done already"}
        daemon.start_flatten(reason, request.uid)
        with anyio.move_on_after(WAIT_S):
            await daemon.flattened.wait()
        return 200, {**self._brief(reason), "flat": daemon.closing.is_flat and not daemon.is_flattening}

    async def _reconcile(self, reason: str) -> Reply:
        """What one comparison finds; it goes on where that takes longer than whoever asked can wait."""
        with anyio.move_on_after(WAIT_S):
            return 200, {**self._brief(reason), **self._compared(await self._daemon.reconciling.ask())}
        return 503, {"error": "the venue has not answered yet; `tradingd status` says what is found"}

    async def _correct(self, request: Request, reason: str, strategy_id: str) -> Reply:
        """A person puts right what no policy may. Where the venue is slow nothing is changed."""
        names = ("instrument_id", "execution_id", "price", "qty")
        texts = {name: request.body.get(name, "") for name in names}
        if not reason.strip() or not all(isinstance(text, str) for text in texts.values()):
            return 400, {"error": f"a correction needs a reason, which is kept in the journal; {', '.join(names)} are texts"}
        correcting = Correcting(self._daemon.session, self._daemon.reconciling)
        with anyio.move_on_after(WAIT_S):
            corrected = await correcting.make(Wanted(**texts, strategy_id=strategy_id), reason, request.uid)
            return 200, {**self._brief(reason), "corrected": corrected}
        return 503, {"error": "the venue has not answered in time; nothing was changed"}

    @staticmethod
    def _compared(found: Reconciliation) -> dict[str, Any]:
        return {
            "time": iso(found.ts),
            "count": found.count,
            "facts": list(found.facts),
            "differences": list(found.differences),
            "error": found.error or None,
        }

    @property
    def _state(self) -> TradingState:
        return self._daemon.session.trader.risk.trading_state

    def _brief(self, reason: str, strategy_id: str = "") -> dict[str, Any]:
        brief = {"run_id": self._daemon.run_id, "trading_state": self._state.name, "reason": reason}
        if strategy_id:
            brief["strategy_id"] = strategy_id
            brief["strategy_state"] = self._daemon.session.trader.risk.states.own(strategy_id).name
        return brief

    def _view(self, path: str) -> dict[str, Any]:
        session = self._daemon.session
        trader = session.trader
        match path:
            case "/orders":
                return {"orders": [order_view(trader, order) for order in trader.orders.open_orders()]}
            case "/positions":
                return positions_view(trader)
            case "/strategies":
                return {"strategies": self._strategies()}
            case "/fills":
                first = session.fills_count - len(session.fills) + 1
                shown = [fill_view(trader, fill, number) for number, fill in enumerate(session.fills, first)]
                return {"fills": shown, "count": session.fills_count}
            case _:
                return self.status()

    def _strategies(self) -> list[dict[str, Any]]:
        """Clients included, and what was adopted from the venue where anything was."""
        trader = self._daemon.session.trader
        names = [context.strategy_id for context in trader.contexts]
        names += [FOREIGN] if any(owner == FOREIGN for owner, _ in trader.portfolio.by_strategy) or trader.orders.foreign else []
        return [
            {**risk_view(trader, name, self._daemon.session.clock.now()), "profit": profit_view(trader, name)} for name in names
        ]

    def status(self) -> dict[str, Any]:
        daemon = self._daemon
        session, inbox, found = daemon.session, daemon.session.inbox, daemon.reconciling.last
        trader = session.trader
        latched = session.latched
        return {
            "run_id": daemon.run_id,
            "name": daemon.loaded.config.run.name,
            "mode": daemon.loaded.config.run.mode,
            "phase": daemon.phase,
            "folder": str(daemon.run_folder),
            "trading_state": self._state.name,
            "trading_state_reason": latched.reason,
            "time": iso(session.clock.now()),
            "profit": profit_view(trader),
            "instruments": instruments_view(trader),
            "open_orders": sum(state.open_orders for state in trader.states.values()),
            "orders_sent": session.orders_sent,
            "fills": session.fills_count,
            "cash_moves": trader.cash.booked,
            "events": session.events,
            "commands": session.commands,
            "queue_depth": len(inbox),
            "queue_depth_max": inbox.depth_max,
            "conflated": inbox.conflated,
            "event_lag_us": session.lag_ns // 1_000,
            "event_lag_us_max": session.lag_ns_max // 1_000,
            "timers": len(session.timers),
            "streams": len(self._clients.streams),
            "journal_records": session.journal.records_written,
            "journal_records_durable": session.journal.records_durable,
            "last_reconcile": self._compared(found),
            "recovered": {
                "previous_run": daemon.recovered.previous_run,
                "records_read": daemon.recovered.records_read,
                "snapshot_records": daemon.recovered.snapshot_records,
            },
        }
