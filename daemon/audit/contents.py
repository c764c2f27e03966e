"""What a frame whose hash fits must also hold: a header of this journal, a token that only grows, a seal that is signed."""

from __future__ import annotations

from typing import Protocol

import msgspec

from daemon.audit.anchors import AnchorCheck
from daemon.audit.findings import Damage, Finding, Report
from daemon.journal.format import DECODE_ERRORS, SEAL, UNSIGNED, Frame, Opened, Record, SegmentHeader, frame_hash, seal_message
from daemon.journal.keys import is_signed_by


class Tell(Protocol):
    """How a finding is reported."""

    def __call__(self, frame: Frame, damage: Damage, message: str) -> Finding: ...


class Contents:
    """Checks the payloads of one journal's frames, in order."""

    def __init__(self, report: Report, key: str | None, anchors: AnchorCheck | None, tell: Tell) -> None:
        self._report = report
        self._key = key
        self._anchors = anchors
        self._tell = tell
        self._decoder = msgspec.msgpack.Decoder(list[Record])
        self._is_first_header = True
        self._token = 0
        self.is_synced = False  # as the last header says

    def linked(self, frame: Frame, records: int) -> None:
        """A frame that continues the one before it; `records` with its own."""
        if self._anchors is not None:
            self._anchors.see_link(records, frame.hash)

    def records(self, frame: Frame) -> int | None:
        """How many there are; None where they cannot be read."""
        try:
            return len(self._decoder.decode(frame.payload))
        except DECODE_ERRORS as error:
            self._tell(frame, Damage.EDITED, f"the frame holds something that is no record: {error}")
            return None

    def header(self, frame: Frame, segment: int, *, is_linked: bool) -> None:
        try:
            header = msgspec.msgpack.decode(frame.payload, type=SegmentHeader)
        except DECODE_ERRORS as error:
            self._tell(frame, Damage.EDITED, f"the header cannot be read: {error}")
            return
        self.is_synced = header.is_synced
        report = self._report
        found = (header.journal_id, header.journal.run_id, header.public_key)
        if self._is_first_header:
            self._is_first_header = False
            report.journal_id, report.run_id, report.public_key = found
            self._check_key(frame)
        elif found != (report.journal_id, report.run_id, report.public_key):
            self._tell(frame, Damage.INSERTED, "this segment is of another journal, or of another key")
        if header.segment != segment:
            self._tell(frame, Damage.REORDERED, f"this is segment {header.segment} under another number")
        if not is_linked and frame_hash(header.before, frame.head, frame.payload) != frame.hash:
            self._tell(frame, Damage.EDITED, "the header was changed")
        self._check_token(frame, header.token)

    def opened(self, frame: Frame, records: int) -> None:
        try:
            opened = msgspec.msgpack.decode(frame.payload, type=Opened)
        except DECODE_ERRORS as error:
            self._tell(frame, Damage.EDITED, f"the frame cannot be read: {error}")
            return
        self._check_token(frame, opened.token)
        if opened.cut_bytes:
            self._report.repairs.append(
                f"after record {records}: {opened.cut_bytes} unfinished bytes were cut off {opened.cut_file} at byte "
                f"{opened.cut_offset} (SHA-256 {opened.cut_sha256})"
            )

    def seal(self, frame: Frame, segment: int, before: bytes | None, records: int) -> None:
        """`before` is the hash that it continues; None after damage, where a signature cannot be checked."""
        report = self._report
        if len(frame.payload) != SEAL.size:
            self._tell(frame, Damage.EDITED, "the seal has the wrong size")
            return
        token, signature = SEAL.unpack(frame.payload)
        self._check_token(frame, token)
        if before is None:
            return
        if report.public_key:
            message = seal_message(
                journal_id=report.journal_id,
                run_id=report.run_id,
                segment=segment,
                token=token,
                before=before,
                head=frame.head,
            )
            if not is_signed_by(report.public_key, signature, message):
                self._tell(
                    frame,
                    Damage.REWRITTEN,
                    "the chain fits, but this seal is not signed by the journal's key: "
                    f"something after record {report.records_sealed} was rewritten",
                )
                return
        elif signature != UNSIGNED:
            self._tell(frame, Damage.EDITED, "a signature in a journal that has no key")
            return
        report.seals += 1
        report.records_sealed = records
        if self._anchors is not None:
            self._anchors.see(frame)

    def _check_token(self, frame: Frame, token: int) -> None:
        if token < self._token:
            self._tell(frame, Damage.REORDERED, f"written by writer {token}, after writer {self._token} had begun")
        self._token = max(self._token, token)

    def _check_key(self, frame: Frame) -> None:
        report = self._report
        report.key_is_known = self._key is not None and report.public_key == self._key
        if not report.public_key:
            report.notes.append("the journal is not signed: a whole rewrite shows only against an anchor")
        elif self._key is None:
            report.notes.append("no key was expected: the signatures prove that one key signed all of it, not whose key that is")
        if self._key is not None and not report.key_is_known:
            signed = f"signed by key {report.public_key}" if report.public_key else "not signed"
            self._tell(
                frame,
                Damage.WRONG_KEY,
                f"{signed}; key {self._key} was expected: if another machine wrote it, name that one's public key (--key)",
            )
