"""What a run folder's files are called, and what its run.json says; the tables beside it are written by daemon/run_folder.py."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from core.errors import ConfigError

RUN_FILE = "run.json"
LOG_FILE = "log.jsonl"


def read_run(folder: Path) -> dict[str, Any]:
    """The content of a run folder's run.json. Raises ConfigError where there is none."""
    path = folder / RUN_FILE
    try:
        run = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{folder}: is no run folder: {path.name}: {error.strerror or error}") from None
    except ValueError as error:
        raise ConfigError(f"{path}: is damaged: {error}") from None
    if not isinstance(run, dict) or "run_id" not in run:
        raise ConfigError(f"{path}: is not the record of a run")
    return run
