"""Trading states of the account and of each strategy, latched: they get stricter by themselves and looser only by a resume.

              set, trip                set, trip
    ACTIVE ──────────────► REDUCING ──────────────► HALTED
      ▲ ▲                    │  ▲                     │ │
      │ └─── resumed ────────┘  └──── resumed ────────┘ │
      └───────────────────── resumed ───────────────────┘

A strategy trades under the stricter of its own state and the account's. TradingStateSet and LimitTripped only move to the right,
TradingResumed (with a reason) only to the left; what would move the other way changes nothing.
"""

from __future__ import annotations

from core.enums import TradingState

_ACTIVE = TradingState.ACTIVE


class TradingStates:
    """`is_restricted` is False while every state is ACTIVE: the one thing that the hot path asks."""

    __slots__ = ("_strategies", "account", "is_restricted")

    def __init__(self) -> None:
        self.account = _ACTIVE
        self._strategies: dict[str, TradingState] = {}  # those that are not ACTIVE
        self.is_restricted = False

    def of(self, strategy_id: str) -> TradingState:
        """The state that the strategy's orders are judged by."""
        own = self._strategies.get(strategy_id, _ACTIVE)
        return own if own > self.account else self.account

    def own(self, strategy_id: str) -> TradingState:
        """The state of one scope by itself; "": the account."""
        return self._strategies.get(strategy_id, _ACTIVE) if strategy_id else self.account

    def restrict(self, strategy_id: str, state: TradingState) -> bool:
        """Towards HALTED; returns False where it is as strict already."""
        if state <= self.own(strategy_id):
            return False
        self._set(strategy_id, state)
        return True

    def resume(self, strategy_id: str, state: TradingState) -> bool:
        """Towards ACTIVE; returns False where it is as loose already."""
        if state >= self.own(strategy_id):
            return False
        self._set(strategy_id, state)
        return True

    def strategies(self) -> list[tuple[str, TradingState]]:
        """Those that are not ACTIVE, by name."""
        return sorted(self._strategies.items())

    def _set(self, strategy_id: str, state: TradingState) -> None:
        if not strategy_id:
            self.account = state
        elif state is _ACTIVE:
            del self._strategies[strategy_id]
        else:
            self._strategies[strategy_id] = state
        self.is_restricted = self.account is not _ACTIVE or bool(self._strategies)
