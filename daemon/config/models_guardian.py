"""The part of the configuration that says how the guardian watches and how it raises an alarm."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from daemon.config.section import Name, PathText, Section
from daemon.config.text_types import Duration, PositiveDuration

Argument = Annotated[str, StringConstraints(min_length=1, max_length=4_096, pattern=r"^[^\x00]*$")]
SeverityName = Literal["info", "warning", "critical"]


class Guardian(Section):
    """The second process: `tradingd guardian CONFIG` (docs/GUARDIAN.md)."""

    required: bool = Field(
        default=False, description="the daemon is ACTIVE only while a guardian answers; without one it becomes REDUCING"
    )
    state_folder: PathText = Field(
        default="guardian-state",
        description="where the guardian keeps the audit heads: below it, a folder `run.name`; best where the daemon cannot write",
    )
    kill_file: PathText | None = Field(
        default=None, description="a file whose presence kills; absent: KILL in the daemon's own state folder"
    )
    heartbeat_timeout: PositiveDuration = Field(
        default="5s", description="longest time without a proof of work from a running daemon; then it is killed"
    )
    lost_after: PositiveDuration = Field(
        default="5s", description="after so long without an answer from the guardian the daemon takes it for lost"
    )
    fence_after: PositiveDuration = Field(
        default="1s", description="a daemon that has not shown after so long that it is halted gets SIGKILL"
    )
    settle: Duration = Field(
        default="250ms", description="so long a venue must stay empty before a kill is acknowledged: longer than an order travels"
    )
    check_interval: PositiveDuration = Field(default="5s", description="between two questions to a venue while all is well")
    guard_interval: PositiveDuration = Field(
        default="250ms", description="between two questions to a venue while the kill latch is set; doubled while nothing appears"
    )
    venue_timeout: PositiveDuration = Field(default="2s", description="longest time for one call of a venue")
    dead_man: Duration = Field(
        default="60s", description="a venue cancels everything by itself after so long without the guardian; '0ns': not armed"
    )
    head_interval: PositiveDuration = Field(default="10s", description="at most one audit head is kept in so long")


class Alerts(Section):
    """Where alarms go. The guardian sends them, so that they outlive a crash of the daemon."""

    log: PathText | None = Field(default=None, description="file that gets every alert, one JSON object a line")
    log_from: SeverityName = Field(default="info", description="lowest severity that goes to the file")
    webhook: Name | None = Field(default=None, description="name of the secret that holds the URL: each alert is posted as JSON")
    webhook_from: SeverityName = Field(default="warning", description="lowest severity that is posted")
    webhook_timeout: PositiveDuration = Field(default="3s", description="for one try of the webhook")
    command: list[Argument] = Field(
        default_factory=list, max_length=64, description="program and arguments; it gets each alert as JSON on stdin"
    )
    command_from: SeverityName = Field(default="critical", description="lowest severity for which the command runs")
    command_timeout: PositiveDuration = Field(default="10s", description="then the command is killed")
    repeat_after: PositiveDuration = Field(default="5m", description="the same alert again is sent at most once in so long")
    per_minute_max: int = Field(
        default=30, ge=1, le=10_000, description="alerts below critical to one place in any minute; further ones are counted"
    )
