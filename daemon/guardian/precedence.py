"""Gives this process the processor before others, where the system allows it: a busy machine must not keep a kill waiting."""

from __future__ import annotations

import os

PRIORITY = 1  # the lowest of the real-time ones: before every ordinary process, behind whatever else is real-time
NICENESS = -10


def take_precedence() -> str:
    """What was taken: real-time, nice or none. Threads and processes that are started later have none of it."""
    try:
        os.sched_setscheduler(0, os.SCHED_RR | os.SCHED_RESET_ON_FORK, os.sched_param(PRIORITY))
    except OSError:
        # Nobody has given this user the right (CPUSchedulingPolicy=, LimitRTPRIO= of a systemd unit); the next best then.
        return _take_niceness()
    return "real-time"


def _take_niceness() -> str:
    try:
        os.setpriority(os.PRIO_PROCESS, 0, NICENESS)
    except OSError:
        return "none"
    return "nice"
