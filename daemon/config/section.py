"""What every part of the configuration is made of: strict sections, names, paths."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, StringConstraints

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]
InstrumentId = Annotated[str, StringConstraints(pattern=r"^[^\s.][^\s]*\.[A-Za-z0-9_-]+$", max_length=64)]
Currency = Annotated[str, StringConstraints(pattern=r"^[A-Z0-9]{2,12}$")]
# No zero byte: the operating system ends a name there.
PathText = Annotated[str, StringConstraints(min_length=1, pattern=r"^[^\x00]*$")]


class Section(BaseModel):
    # Strict: TOML has types, and a number where text belongs is a mistake, not a spelling.
    # A section is read as a part of the whole: a validator of its own is built when somebody asks it for one.
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, populate_by_name=True, defer_build=True)
