"""The clock of a program in virtual time: ns UTC of its agenda."""

from __future__ import annotations

from sim.virtual.agenda import Agenda


class VirtualClock:
    def __init__(self, agenda: Agenda) -> None:
        self._agenda = agenda

    def now(self) -> int:
        return self._agenda.ns
