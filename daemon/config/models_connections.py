"""The part of the configuration that says how venues are reached."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from daemon.config.section import Name, PathText, Section


class Connection(Section):
    """One venue outside this process. Without any, a paper session has its simulated venue inside the daemon."""

    venue: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,32}$")] = Field(
        description="the part of instrument_ids behind the last dot"
    )
    adapter: Literal["sim"] = Field(description="'sim': the simulated venue in a process of its own (tradingd venue-sim)")
    address: PathText = Field(description='"unix:PATH" of its socket, or "HOST:PORT" on loopback')
    account: Name = Field(default="main", description="the account there")
    token: Name | None = Field(default=None, description="name of the secret that the venue asks for; never the secret itself")
    guardian_token: Name | None = Field(default=None, description="the secret of the guardian's own connection; absent: the same")
