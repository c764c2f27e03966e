"""What a configuration comes to: every default, included instrument and strategy parameter resolved, and the digest of that."""

from __future__ import annotations

import json
from hashlib import blake2b
from typing import Any

from daemon.config.loader import LoadedConfig
from daemon.strategies import strategy_params

# Sections that a backtest takes no notice of.
NO_PART_OF_A_RESULT = ("audit", "daemon", "connections", "guardian", "promotion", "alerts", "api", "clients")


def effective(loaded: LoadedConfig) -> dict[str, Any]:
    """Everything in effect as plain data that a file could hold. Raises ConfigError or StrategyError for a strategy's part."""
    plain = loaded.config.model_dump(mode="json", by_alias=True, exclude_none=True)
    plain["instruments"] = {
        "inline": [table.model_dump(mode="json", by_alias=True, exclude_none=True) for table in loaded.instruments]
    }
    for index, table in enumerate(plain["strategies"]):
        table["params"] = strategy_params(loaded, index).model_dump(mode="json", by_alias=True, exclude_none=True)
    return dict(plain)


def config_digest(loaded: LoadedConfig) -> str:
    """Of what decides the result: the pace, where the run folder goes and what seals its journal do not."""
    plain = effective(loaded)
    for key in ("pace", "runs_folder", "journal"):
        del plain["run"][key]
    del plain["report"]["progress_interval"]
    for key in NO_PART_OF_A_RESULT:
        plain.pop(key, None)
    return blake2b(json.dumps(plain, sort_keys=True, separators=(",", ":")).encode(), digest_size=16).hexdigest()
