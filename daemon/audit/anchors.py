"""Holds a journal against the anchors and heads that were kept elsewhere."""

from __future__ import annotations

from collections.abc import Iterator

from daemon.audit.findings import Damage, Finding, Report
from daemon.journal.anchor import Anchor, Anchors, Head
from daemon.journal.format import SEAL, Frame, seal_message
from daemon.journal.keys import is_signed_by


class AnchorCheck:
    """`see` every good seal of a journal and `see_link` every frame that fits, then ask for the findings."""

    def __init__(self, found: Anchors, name: str = "anchor") -> None:
        self._anchors = found.anchors
        self._damaged_lines = found.damaged
        self._unfinished_lines = found.unfinished
        self._name = name
        self._seen: dict[int, bytes] = {}
        self._wanted = {anchor.frame for anchor in found.anchors}
        self._heads = found.heads
        self._hashes: dict[int, list[bytes]] = {head.records: [] for head in found.heads}  # of frames with so many records
        self._records = 0  # up to the last frame that fits

    def see(self, frame: Frame) -> None:
        if frame.number in self._wanted:
            self._seen[frame.number] = frame.whole

    def see_link(self, records: int, link: bytes) -> None:
        self._records = max(self._records, records)
        found = self._hashes.get(records)
        if found is not None:
            found.append(link)

    def findings(self, report: Report) -> Iterator[Finding]:
        """What the anchors say against the journal that `report` is about; counts those that agree."""
        for line in self._damaged_lines:
            yield self._finding(f"line {line} is no anchor: the anchor file itself was changed")
        report.notes += [f"{self._name}: line {line} was not finished: a crash cut it short" for line in self._unfinished_lines]
        ours = [anchor for anchor in self._anchors if anchor.journal_id == report.journal_id]
        heads = [head for head in self._heads if head.journal_id == report.journal_id]
        if not ours and not heads:
            run_ids = [anchor.run_id for anchor in self._anchors] + [head.run_id for head in self._heads]
            others = run_ids.count(report.run_id)
            more = f"; it knows run {report.run_id} as {others} anchors of another journal" if others else ""
            yield self._finding(f"the anchor file does not know this journal ({report.journal_id or 'no header'}){more}")
        for anchor in ours:
            found = self._compare(anchor, report)
            if found is None:
                report.anchors += 1
            else:
                yield found
        yield from self._compare_heads(heads, report)

    def _compare_heads(self, heads: list[Head], report: Report) -> Iterator[Finding]:
        """The first head that contradicts tells where; what follows it cannot agree either."""
        durable = max((head.records_durable for head in heads), default=0)
        lost = 0
        for head in heads:
            if head.head in [link.hex() for link in self._hashes[head.records]]:
                report.heads += 1
            elif head.records <= self._records:
                message = f"at record {head.records} the chain is not what the guardian saw: it was rewritten there or further up"
                yield Finding(damage=Damage.REWRITTEN, file=self._name, message=message, record=head.records)
                return
            elif head.records <= durable:
                message = f"the guardian saw {head.records} records on the disk, and only {self._records} are here"
                yield Finding(damage=Damage.CUT, file=self._name, message=message, record=self._records)
                return
            else:
                lost = max(lost, head.records)
        if lost:
            report.notes.append(
                f"{self._name}: the guardian saw {lost} records and {self._records} are here; the others had not been on the "
                "disk: a power cut loses them, and so does whoever cuts the end off"
            )

    def _compare(self, anchor: Anchor, report: Report) -> Finding | None:
        problem = self._problem(anchor, report)
        if problem:
            return self._finding(f"the anchor of frame {anchor.frame} is no seal of this journal: {problem}", anchor)
        seen = self._seen.get(anchor.frame)
        if seen == bytes.fromhex(anchor.seal):
            return None
        if seen is not None:
            message = f"frame {anchor.frame} is not the seal that was anchored: the journal was rewritten from here or further up"
            return self._finding(message, anchor, Damage.REWRITTEN)
        message = f"frame {anchor.frame} with {anchor.records} records before it was anchored and is not here any more"
        damage = Damage.CUT if report.records_sealed < anchor.records or not report.is_ended else Damage.REWRITTEN
        return self._finding(message, anchor, damage)

    def _problem(self, anchor: Anchor, report: Report) -> str:
        seal = anchor.parsed_seal()
        if isinstance(seal, str):
            return seal
        if (seal.number, seal.records, len(seal.payload)) != (anchor.frame, anchor.records, SEAL.size):
            return "it contradicts itself"
        if not anchor.public_key:
            return ""
        if report.public_key and anchor.public_key != report.public_key:
            return f"it is of key {anchor.public_key}, the journal of {report.public_key}"
        token, signature = SEAL.unpack(seal.payload)
        try:
            before = bytes.fromhex(anchor.before)
        except ValueError as error:
            return str(error)
        message = seal_message(
            journal_id=anchor.journal_id,
            run_id=anchor.run_id,
            segment=anchor.segment,
            token=token,
            before=before,
            head=seal.head,
        )
        return "" if is_signed_by(anchor.public_key, signature, message) else "its signature is wrong"

    def _finding(self, message: str, anchor: Anchor | None = None, damage: Damage = Damage.ANCHOR) -> Finding:
        if anchor is None:
            return Finding(damage=damage, file=self._name, message=message)
        return Finding(damage=damage, file=self._name, message=message, frame=anchor.frame, record=anchor.records)
