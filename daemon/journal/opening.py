"""Opens the journal that a configuration asks for: its key, its anchor, its policy."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from core.errors import StorageError
from daemon.config.build import expand_path
from daemon.config.loader import LoadedConfig
from daemon.config.places import key_file
from daemon.journal.anchor import AnchorFile, Anchors, AnchorSink, read_anchors
from daemon.journal.files import DISK, Files
from daemon.journal.format import JournalHeader
from daemon.journal.keys import Signer, open_signer
from daemon.journal.writer import JournalSettings, JournalWriter


@dataclass(frozen=True, slots=True)
class Sealing:
    """What seals a journal. `unsigned_reason` says why there is no key, where there is none."""

    signer: Signer | None
    unsigned_reason: str
    anchor: AnchorSink | None


def open_sealing(loaded: LoadedConfig) -> Sealing:
    """The key and the anchor of a run, before it leaves any trace.

    Raises ConfigError for a key that was named and cannot be used, StorageError for an anchor that cannot be written. A state
    folder that refuses the default key costs the signature and not the run.
    """
    audit = loaded.config.audit
    named, signer, reason = key_file(loaded), None, ""
    try:
        signer = open_signer(named)
    except StorageError as error:
        reason = str(error)
    anchor = AnchorFile(expand_path(loaded, audit.anchor, "audit.anchor")) if audit.anchor is not None else None
    return Sealing(signer, reason, anchor)


def known_anchors(loaded: LoadedConfig) -> Anchors | None:
    """What the configured anchor file holds; None where none is configured, or it is not there yet. Raises ConfigError."""
    if loaded.config.audit.anchor is None:
        return None
    path = expand_path(loaded, loaded.config.audit.anchor, "audit.anchor")
    return read_anchors(path) if path.exists() else None


def begin_journal(
    folder: Path, header: JournalHeader, sealing: Sealing, settings: JournalSettings, files: Files = DISK
) -> JournalWriter:
    """A new journal at `folder`. Raises StorageError."""
    return JournalWriter(folder, header, settings=settings, signer=sealing.signer, anchor=sealing.anchor, files=files)
