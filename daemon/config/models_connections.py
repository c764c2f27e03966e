"""The part of the configuration that says how venues are reached."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints

from daemon.config.section import Name, PathText, Section

VenueKind = Literal["sim", "binance-spot", "binance-usdm", "deribit", "alpaca", "oanda", "ib", "ccxt"]


class Connection(Section):
    """One venue outside this process. Without any, a paper session has its simulated venue inside the daemon."""

    venue: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,32}$")] = Field(
        description="the part of instrument_ids behind the last dot"
    )
    adapter: VenueKind = Field(
        description="'sim': tradingd's own simulated venue in a process of its own; docs/VENUES.md has the others"
    )
    environment: Literal["live", "test", "simulator"] = Field(
        default="simulator",
        description="live: real money; test: the venue's test network, paper or practice account; simulator: tradingd venue-sim",
    )
    execution: Literal["venue", "simulated"] | None = Field(
        default=None,
        description="venue: orders go there; simulated: only its market comes from there, and orders meet the simulated venue "
        "(`[venue]`) in this process; absent: venue, and simulated for paper trading on a live environment",
    )
    address: PathText | None = Field(
        default=None, description='"HOST:PORT" of a simulator or gateway, for sim "unix:PATH" too; absent: the venue\'s own'
    )
    account: Name = Field(default="main", description="the account there")
    key: Name | None = Field(default=None, description="name of the secret that holds the API key; never the key itself")
    secret: Name | None = Field(default=None, description="name of the secret that requests are signed with")
    token: Name | None = Field(default=None, description="name of the secret that the venue asks for; never the secret itself")
    guardian_key: Name | None = Field(default=None, description="the key of the guardian's own connection; absent: the same")
    guardian_secret: Name | None = Field(default=None, description="the secret of the guardian's key; absent: the same")
    guardian_token: Name | None = Field(default=None, description="the secret of the guardian's own connection; absent: the same")
    order_id_prefix: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_]{1,14}$")] | None = Field(
        default=None, description="what our order ids begin with at this venue; absent: made of run.name"
    )
    symbols: dict[str, str] = Field(
        default_factory=dict, description="instrument_id to the venue's own name, where it is not what docs/VENUES.md says"
    )
    settings: dict[str, Any] = Field(
        default_factory=dict, description="keys of config/venues/ADAPTER.toml that are to be otherwise here"
    )
