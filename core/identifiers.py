"""client_order_id: run number and counter in one integer inside, `prefix-run-counter` on the wire. Never random.

The text form has at most 36 characters of [A-Za-z0-9_-], which every venue supported accepts.
"""

from __future__ import annotations

import re

from core.errors import UnitError

COUNTER_BITS = 32
COUNTER_MAX = (1 << COUNTER_BITS) - 1
RUN_NUMBER_MAX = (1 << 30) - 1
PREFIX_LENGTH_MAX = 14

_PREFIX = re.compile(r"[A-Za-z0-9_]{1,14}\Z", re.ASCII)
_TEXT = re.compile(r"([A-Za-z0-9_]{1,14})-(\d{1,10})-(\d{1,10})\Z", re.ASCII)


def make_order_id(run_number: int, counter: int) -> int:
    """The integer form: > 0, and larger for every later order of this run and of every later run."""
    if not 1 <= run_number <= RUN_NUMBER_MAX or not 1 <= counter <= COUNTER_MAX:
        raise UnitError(f"run number {run_number} or order counter {counter} is out of range")
    return run_number << COUNTER_BITS | counter


def format_order_id(client_order_id: int, prefix: str) -> str:
    """The text a venue sees. Raises UnitError for a prefix that could not be read back, or that a venue would refuse."""
    if _PREFIX.match(prefix) is None:
        raise UnitError(f"order id prefix {prefix!r} must be 1 to {PREFIX_LENGTH_MAX} of A-Z, a-z, 0-9 and _")
    return f"{prefix}-{client_order_id >> COUNTER_BITS}-{client_order_id & COUNTER_MAX}"


def parse_order_id(text: str, prefix: str) -> int | None:
    """The integer form of our own id; None for an id that is not ours."""
    match = _TEXT.match(text)
    if match is None or match[1] != prefix:
        return None
    run_number, counter = int(match[2]), int(match[3])
    # Leading zeros would give one order two names.
    if match[2] != str(run_number) or match[3] != str(counter):
        return None
    if not 1 <= run_number <= RUN_NUMBER_MAX or not 1 <= counter <= COUNTER_MAX:
        return None
    return run_number << COUNTER_BITS | counter
