"""Where a configuration's files are on this machine."""

from __future__ import annotations

from pathlib import Path

from daemon.config.build import resolve_path
from daemon.config.loader import LoadedConfig


def account_folder(loaded: LoadedConfig) -> Path:
    """Of the account's state: below daemon.state_folder, which is meant from where the process was started."""
    return Path(loaded.config.daemon.state_folder).absolute() / loaded.config.run.name


def key_file(loaded: LoadedConfig) -> Path | None:
    """Of the key that signs; None: the one of the state folder. Raises ConfigError for one that is named and not there."""
    named = loaded.config.audit.key_file
    return None if named is None else resolve_path(loaded, named, "audit.key_file")
