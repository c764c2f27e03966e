"""How a path of the configuration is written: ${NAME} from the environment, ~ for home, relative ones from a folder."""

from __future__ import annotations

import os
import re
from pathlib import Path

from core.errors import ConfigError

_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


def expand(text: str, folder: Path, where: str) -> Path:
    """The path that `text` means, there or not; `where` begins the ConfigError for a variable that is not set."""

    def value_of(match: re.Match[str]) -> str:
        value = os.environ.get(match[1])
        if not value:
            raise ConfigError(f"{where}: the environment variable {match[1]} is not set; it is part of {text!r}")
        return value

    return folder / Path(_VARIABLE.sub(value_of, text)).expanduser()
