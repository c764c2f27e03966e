"""Where secrets come from: systemd's credentials, private files, the environment; never a configuration, and never into a log.

    $CREDENTIALS_DIRECTORY/NAME          what systemd's LoadCredential= gives the service
    $CREDENTIALS_DIRECTORY/secret_NAME   the same, where it loads a whole folder as LoadCredential=secret:FOLDER
    $TRADINGD_SECRETS_DIR/NAME           a folder of files that nobody else may read; several with ":" between them
    $TRADINGD_SECRET_NAME                the environment; NAME in capitals, "." and "-" written "_"

The first place that has the name counts, and one that has it but cannot be used is an error: no other is tried.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from core.errors import ConfigError

CREDENTIALS_VARIABLE = "CREDENTIALS_DIRECTORY"
CREDENTIALS_PREFIX = "secret_"
FOLDER_VARIABLE = "TRADINGD_SECRETS_DIR"
VALUE_VARIABLE_PREFIX = "TRADINGD_SECRET_"
SECRET_BYTES_MAX = 1 << 14

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a secret may be: a file, a variable of the environment, or neither where its folder is not named."""

    text: str  # for people
    path: Path | None = None
    variable: str | None = None
    is_kept_by_systemd: bool = False  # which keeps others out by means that a file's mode does not show

    @property
    def has_it(self) -> bool:
        if self.variable is not None:
            return bool(os.environ.get(self.variable))
        if self.path is None:
            return False
        try:
            os.lstat(self.path)
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError:
            # It may be there: reading it will say what is wrong.
            return True
        return True


def read_secret(name: str) -> str:
    """The secret without one newline at its end. Raises ConfigError with every place that was looked at, and never the value."""
    place = find_secret(name)
    if place is None:
        looked_at = "; ".join(place.text for place in _places(name))
        raise ConfigError(f"there is no secret {name!r}; looked for {looked_at}")
    secret = _content(place).removesuffix("\n").removesuffix("\r")
    if not secret:
        raise ConfigError(f"secret {name!r}: {place.text} is empty")
    return secret


def find_secret(name: str) -> Place | None:
    """The place that counts, without reading it; None where no place has it. Raises ConfigError for what can be no name."""
    return next((place for place in _places(name) if place.has_it), None)


def _places(name: str) -> Iterator[Place]:
    if not _NAME.fullmatch(name):
        raise ConfigError(f"{name!r} can be no secret's name: letters, digits, '_', '.' and '-', at most 64")
    credentials, folders = os.environ.get(CREDENTIALS_VARIABLE), os.environ.get(FOLDER_VARIABLE)
    if credentials:
        for file_name in (name, CREDENTIALS_PREFIX + name):
            path = Path(credentials) / file_name
            yield Place(str(path), path, is_kept_by_systemd=True)
    else:
        yield Place(f"${CREDENTIALS_VARIABLE}/{name} (not set)")
    if folders:
        for folder in filter(None, folders.split(os.pathsep)):
            path = Path(folder) / name
            yield Place(str(path), path)
    else:
        yield Place(f"${FOLDER_VARIABLE}/{name} (not set)")
    variable = VALUE_VARIABLE_PREFIX + re.sub(r"[.-]", "_", name).upper()
    yield Place(f"${variable}", variable=variable)


def _content(place: Place) -> str:
    data = os.environb[os.fsencode(place.variable)] if place.variable else _read(place)
    if len(data) > SECRET_BYTES_MAX:
        raise ConfigError(f"{place.text}: is no secret: longer than {SECRET_BYTES_MAX} bytes")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        # The error's own words would quote the bytes.
        raise ConfigError(f"{place.text}: is no UTF-8 text") from None
    if "\x00" in text:
        raise ConfigError(f"{place.text}: holds a zero byte")
    return text


def _read(place: Place) -> bytes:
    assert place.path is not None
    try:
        # Not blocking: a pipe in its place would hold the start up.
        descriptor = os.open(place.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with open(descriptor, "rb") as file:
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode):
                raise ConfigError(f"{place.text}: is no file")
            if not place.is_kept_by_systemd:
                _check_private(place, found)
            return file.read(SECRET_BYTES_MAX + 1)
    except OSError as error:
        raise ConfigError(f"{place.text}: the secret cannot be read: {error.strerror or error}") from None


def _check_private(place: Place, found: os.stat_result) -> None:
    if found.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        mode = stat.S_IMODE(found.st_mode)
        raise ConfigError(f"{place.text}: others may read or change this secret (mode {mode:04o}): chmod 600 it")
    if found.st_uid not in (os.geteuid(), 0):
        raise ConfigError(f"{place.text}: belongs to user {found.st_uid}, not to the one who runs this ({os.geteuid()})")
