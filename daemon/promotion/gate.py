"""Lets a configuration trade live, or says what it still has to show."""

from __future__ import annotations

from core.errors import ConfigError
from daemon.config.loader import LoadedConfig
from daemon.config.places import account_folder, key_file
from daemon.journal.keys import known_key
from daemon.promotion.identity import identity_of
from daemon.promotion.record import read, refusal
from daemon.wiring import moves_real_money


def check_promotion(loaded: LoadedConfig, now: int) -> None:
    """Raises ConfigError where the configuration would move real money and has not earned it. `now`: ns UTC."""
    if not moves_real_money(loaded):
        return
    key = known_key(key_file(loaded))
    name = loaded.config.run.name
    found = refusal(read(account_folder(loaded), key), name, identity_of(loaded), now)
    if found:
        how = f"tradingd promote PAPER_CONFIG {loaded.file} --account {name}"
        raise ConfigError(f"{loaded.file}: may not trade live: {found}; earn it: {how}")
