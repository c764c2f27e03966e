"""Approved: a command that passed the risk gate. Engines accept nothing else, and only core/risk.py can make one."""

from __future__ import annotations

from typing import Final, final

from core.commands import CancelAll, CancelOrder, ReplaceOrder, SubmitOrder


class _Seal:
    __slots__ = ()


# The gate takes this key once, at import; tests/core/test_approved.py reads every file to see that nobody else does.
_SEAL: Final = _Seal()


@final
class Approved:
    """A sealed order command. Holding one is the proof that the gate let it pass."""

    __slots__ = ("command",)

    def __init__(self, command: SubmitOrder | CancelOrder | ReplaceOrder | CancelAll, seal: _Seal) -> None:
        if seal is not _SEAL:
            raise AssertionError("only the risk gate makes an Approved command")
        self.command: Final = command

    def __repr__(self) -> str:
        return f"Approved({self.command!r})"
