"""The part of the configuration that says what a strategy must have shown on paper before it may trade live."""

from __future__ import annotations

from pydantic import Field

from daemon.config.section import Section
from daemon.config.text_types import Duration, PositiveDuration


class Promotion(Section):
    """What `tradingd promote` asks of the paper runs (docs/PROMOTION.md)."""

    paper_time_min: Duration = Field(default="8h", description="how long they must have traded on paper, ACTIVE and fed")
    orders_min: int = Field(default=20, ge=0, description="orders that must have left")
    fills_min: int = Field(default=10, ge=0, description="fills that must have come back")
    trips_max: int = Field(default=0, ge=0, description="limits of the account or of a strategy that may have tripped")
    evidence_age_max: PositiveDuration = Field(default="30d", description="paper runs that ended longer ago do not count")
    valid_for: PositiveDuration = Field(default="90d", description="after so long a promotion has to be earned again")
