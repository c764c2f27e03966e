"""Finds a secret by its name: a systemd credential, a file that the environment names, or the environment itself. Never in a log.

In this order: the file NAME in $CREDENTIALS_DIRECTORY (systemd's LoadCredential), the file that $TRADINGD_SECRET_NAME_FILE names,
the text of $TRADINGD_SECRET_NAME; in variables NAME is in capitals, with _ for whatever is no letter or digit.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from core.errors import ConfigError

SECRET_BYTES_MAX = 4_096
FOLDER_VARIABLE = "CREDENTIALS_DIRECTORY"
PREFIX = "TRADINGD_SECRET_"


def read_secret(name: str | None, where: str) -> str:
    """The secret called `name`; "" for None. Raises ConfigError that begins with `where` and says where it was looked for."""
    if name is None:
        return ""
    variable = PREFIX + re.sub(r"[^A-Z0-9]", "_", name.upper())
    folder = os.environ.get(FOLDER_VARIABLE)
    if folder and (Path(folder) / name).is_file():
        return _read(Path(folder) / name, where)
    named = os.environ.get(f"{variable}_FILE")
    if named:
        return _read(Path(named), where)
    text = os.environ.get(variable)
    if text:
        return _checked(text, f"${variable}", where)
    raise ConfigError(
        f"{where}: the secret {name!r} is nowhere: give it as a credential of the service ({FOLDER_VARIABLE}), "
        f"as a file in ${variable}_FILE, or in ${variable}"
    )


def _read(path: Path, where: str) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(SECRET_BYTES_MAX + 1)
        return _checked(data.decode(), str(path), where)
    except OSError as error:
        raise ConfigError(f"{where}: {path}: cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError:
        # Without the bytes: they are the secret.
        raise ConfigError(f"{where}: {path}: is not text") from None


def _checked(text: str, place: str, where: str) -> str:
    secret = text.strip()
    if not secret or len(text) > SECRET_BYTES_MAX or not secret.isprintable():
        raise ConfigError(f"{where}: {place}: a secret is one line of 1 to {SECRET_BYTES_MAX} characters")
    return secret
