"""What the doctor says: one finding for each thing that it looked at, and the fix where there is something to put right."""

from __future__ import annotations

from enum import Enum

import msgspec


class Status(Enum):
    """In the order of how bad they are."""

    OK = "ok"
    WARNING = "warning"  # trading works; a person should know
    PROBLEM = "problem"  # it will not start, or not be safe


RANK = {status: rank for rank, status in enumerate(Status)}


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    area: str
    status: Status
    found: str
    fix: str = ""


def ok(area: str, found: str) -> Finding:
    return Finding(area=area, status=Status.OK, found=found)


def warning(area: str, found: str, fix: str) -> Finding:
    return Finding(area=area, status=Status.WARNING, found=found, fix=fix)


def problem(area: str, found: str, fix: str) -> Finding:
    return Finding(area=area, status=Status.PROBLEM, found=found, fix=fix)


def worst(findings: list[Finding]) -> Status:
    return max((finding.status for finding in findings), key=RANK.__getitem__, default=Status.OK)
