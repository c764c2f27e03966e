"""What a data check found, and the counter that gathers it."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class CheckResult:
    """`compared` rows were held against the second, independent record; `gaps` and `crossed` count what the data itself shows."""

    format: str
    files: tuple[str, ...]
    rows: int
    compared: int
    mismatches: int
    first_mismatch: str | None
    gaps: int
    crossed: int
    notes: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Nothing contradicts itself: no mismatch, no gap, never crossed."""
        return self.mismatches == 0 and self.gaps == 0 and self.crossed == 0


@dataclass(slots=True)
class Findings:
    """A CheckResult in the making."""

    rows: int = 0
    compared: int = 0
    mismatches: int = 0
    first_mismatch: str | None = None
    gaps: int = 0
    crossed: int = 0
    notes: list[str] = field(default_factory=list)

    def compare(self, is_equal: bool, what: str) -> None:
        """One comparison; `what` describes it where it failed."""
        self.compared += 1
        if not is_equal:
            self.contradict(what)

    def contradict(self, what: str) -> None:
        """A mismatch that is no row-by-row comparison."""
        self.mismatches += 1
        if self.first_mismatch is None:
            self.first_mismatch = what

    def result(self, format_name: str, files: tuple[str, ...]) -> CheckResult:
        return CheckResult(
            format_name,
            files,
            self.rows,
            self.compared,
            self.mismatches,
            self.first_mismatch,
            self.gaps,
            self.crossed,
            tuple(self.notes),
        )
