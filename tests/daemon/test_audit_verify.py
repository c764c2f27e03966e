"""`audit verify` names what was done and where: one case for each kind of damage, and the command line around it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from daemon.audit.anchors import AnchorCheck
from daemon.audit.findings import Report, Verdict
from daemon.audit.verify import verify, verify_segments
from daemon.journal.anchor import AnchorFile, read_anchors
from daemon.journal.format import GENESIS, Frame, frame_hash
from daemon.journal.keys import PUBLIC_KEY_FILE
from daemon.journal.writer import JournalSettings, JournalWriter
from tests.daemon.audit_mutations import joined
from tests.daemon.journal_records import HEADER, OTHER_SIGNER, RECORDS, SIGNER, frames_in, put_segments, segments_in, write
from tests.daemon.session import run_of, tradingd, write_config

# HEADER 1, records 2 to 5 (3, 3, 3, 2 of them), END 6.
SMALL = JournalSettings(segment_bytes_max=1_100, checkpoint_records=10)

Anchored = tuple[dict[int, bytes], Callable[[dict[int, bytes]], Report]]


@pytest.fixture
def whole(tmp_path: Path) -> bytes:
    write(tmp_path / "journal", RECORDS)
    return segments_in(tmp_path / "journal")[1]


def found_in(data: bytes) -> list[tuple[str, int | None, int | None, int | None]]:
    """Damage, byte, frame and record of each finding."""
    report = verify_segments([(1, data)], key=SIGNER.public_key)
    return [(finding.damage.value, finding.offset, finding.frame, finding.record) for finding in report.findings]


def changed(frame: Frame, offset: int) -> Frame:
    payload = bytearray(frame.payload)
    payload[offset] ^= 1
    return frame._replace(payload=bytes(payload))


def test_one_frame_edited(whole: bytes) -> None:
    frames = frames_in(whole)
    third = frames[2]
    for spoiled in (changed(third, -2), third._replace(hash=bytes(32)), third._replace(head=third.head[:-1] + b"\1")):
        assert found_in(joined([*frames[:2], spoiled, *frames[3:]])) == [("edited", third.offset, 3, 4)]


def test_two_frames_edited(whole: bytes) -> None:
    frames = frames_in(whole)
    frames[1], frames[3] = changed(frames[1], -1), changed(frames[3], -1)
    assert found_in(joined(frames)) == [("edited", frames[1].offset, 2, 1), ("edited", frames[3].offset, 4, 7)]


def test_frames_removed(whole: bytes) -> None:
    frames = frames_in(whole)
    assert found_in(joined([*frames[:2], *frames[3:]])) == [("removed", frames[2].offset, 3, 4)]
    assert found_in(joined([*frames[:1], *frames[3:]])) == [("removed", frames[1].offset, 2, 1)]
    report = verify_segments([(1, joined([*frames[:1], *frames[3:]]))])
    assert report.findings[0].message == "frames 2 to 3 missing before this place, with records 1 to 6"


def test_a_frame_inserted(whole: bytes) -> None:
    frames = frames_in(whole)
    copy = [*frames[:4], frames[1], *frames[4:]]
    assert found_in(joined(copy)) == [("inserted", frames[4].offset, 2, 1)]


def test_frames_reordered(whole: bytes) -> None:
    first, second, third, *rest = frames_in(whole)
    assert found_in(joined([first, third, second, *rest])) == [("reordered", second.offset, 3, 4)]
    moved_down = [first, third, rest[0], second, *rest[1:]]
    assert found_in(joined(moved_down)) == [("reordered", second.offset, 2, 1)]


def test_a_tail_cut(whole: bytes) -> None:
    frames = frames_in(whole)
    for data in (joined(frames[:-1]), joined(frames[:3]), whole[:-1], whole[: frames[3].offset + 5]):
        report = verify_segments([(1, data)], key=SIGNER.public_key)
        assert (report.verdict, report.findings) == (Verdict.UNFINISHED, [])


@pytest.mark.parametrize("behind", [0, 3, 20])
@pytest.mark.parametrize("missing", [1, 7, 31])
def test_a_last_sector_that_did_not_arrive_is_no_edit(whole: bytes, missing: int, behind: int) -> None:
    """The end of the last whole frame, and the few bytes of the next one that share its sector, are zeros."""
    frames = frames_in(whole)
    data = joined(frames[:5])
    report = verify_segments([(1, data[:-missing] + bytes(missing + behind))], key=SIGNER.public_key)
    assert (report.verdict, report.findings) == (Verdict.UNFINISHED, [])
    edited = joined([*frames[:4], changed(frames[4], -3)])
    assert edited[-1] != 0
    assert found_in(edited + bytes(behind))[:1] == [("edited", frames[4].offset, 5, 10)]


def rechained(frames: list[Frame]) -> list[Frame]:
    """Hashes that fit, as anybody can make them who has no key."""
    before, result = GENESIS, []
    for frame in frames:
        before = frame_hash(before, frame.head, frame.payload)
        result.append(frame._replace(hash=before))
    return result


def test_a_chain_made_to_fit_without_the_key(whole: bytes) -> None:
    frames = frames_in(whole)
    frames[2] = changed(frames[2], -2)
    assert found_in(joined(rechained(frames))) == [("rewritten", frames[-1].offset, 6, 12)]


def test_everything_written_anew_with_another_key(tmp_path: Path) -> None:
    write(tmp_path / "journal", RECORDS, signer=OTHER_SIGNER)
    data = segments_in(tmp_path / "journal")[1]
    assert found_in(data) == [("wrong key", 12, 1, 1)]
    # Whoever knows no key cannot see it, and is told so.
    report = verify_segments([(1, data)])
    assert report.verdict is Verdict.WHOLE
    assert report.notes == ["no key was expected: the signatures prove that one key signed all of it, not whose key that is"]


def test_segments(tmp_path: Path) -> None:
    write(tmp_path / "journal", RECORDS * 6, settings=SMALL)
    segments = segments_in(tmp_path / "journal")
    assert len(segments) > 3

    def kinds(mutated: dict[int, bytes]) -> list[tuple[str, str]]:
        report = verify_segments(sorted(mutated.items()), key=SIGNER.public_key)
        return [(finding.damage.value, finding.file) for finding in report.findings]

    assert kinds(segments) == []
    assert kinds({number: data for number, data in segments.items() if number != 2})[0] == ("removed", "000003.tdj")
    assert kinds({**segments, 2: segments[2][: frames_in(segments[2])[-1].offset]})[0] == ("cut", "000002.tdj")
    assert kinds({**segments, 2: segments[3], 3: segments[2]})[0][1] == "000002.tdj"
    assert kinds({**segments, max(segments) + 1: segments[2]})[0][1] == f"{max(segments) + 1:06d}.tdj"


# Anchors.


@pytest.fixture
def anchored(tmp_path: Path) -> Anchored:
    anchor = AnchorFile(tmp_path / "anchor")
    write(tmp_path / "journal", RECORDS * 6, settings=SMALL, anchor=anchor)
    anchor.close()

    def check(segments: dict[int, bytes]) -> Report:
        put_segments(tmp_path / "checked", segments)
        return verify(tmp_path / "checked", anchors=AnchorCheck(read_anchors(tmp_path / "anchor")))

    return segments_in(tmp_path / "journal"), check


def test_an_anchored_journal_is_whole(anchored: Anchored) -> None:
    segments, check = anchored
    report = check(segments)
    assert (report.verdict, report.findings) == (Verdict.WHOLE, [])
    assert report.anchors == report.seals > 3


def test_an_anchor_that_a_crash_cut_short_is_no_damage(tmp_path: Path, anchored: Anchored) -> None:
    segments, check = anchored
    whole = (tmp_path / "anchor").read_bytes()
    for size in range(len(whole) - 700, len(whole)):
        (tmp_path / "anchor").write_bytes(whole[:size])
        AnchorFile(tmp_path / "anchor").close()
        report = check(segments)
        assert (report.verdict, report.findings) == (Verdict.WHOLE, []), size


def test_a_cut_tail_shows_against_the_anchor(anchored: Anchored) -> None:
    segments, check = anchored
    last = max(segments)
    frames = frames_in(segments[last])
    without_end = {**segments, last: joined(frames[:-1])}
    without_last = {number: data for number, data in segments.items() if number != last}
    for cut in (without_end, without_last):
        report = check(cut)
        assert report.verdict is Verdict.DAMAGED
        assert {finding.damage.value for finding in report.findings} == {"cut"}


def test_a_new_chain_shows_against_the_anchor(tmp_path: Path, anchored: Anchored) -> None:
    _segments, check = anchored
    # With the very key and the same journal id: the anchor alone knows better.
    write(tmp_path / "forged", (RECORDS * 6)[:-1], settings=SMALL)
    report = check(segments_in(tmp_path / "forged"))
    assert report.verdict is Verdict.DAMAGED
    assert {finding.damage.value for finding in report.findings} == {"rewritten"}
    write(tmp_path / "other", RECORDS * 6, settings=SMALL, journal_id="6" * 32)
    report = check(segments_in(tmp_path / "other"))
    assert [finding.damage.value for finding in report.findings] == ["anchor"]
    assert "does not know this journal" in report.findings[0].message


def test_a_damaged_anchor_file_is_named(tmp_path: Path, anchored: Anchored) -> None:
    segments, check = anchored
    lines = (tmp_path / "anchor").read_bytes().split(b"\n")
    place = lines[1].index(b'"seal":"') + 200
    lines[1] = lines[1][:place] + (b"0" if lines[1][place : place + 1] != b"0" else b"1") + lines[1][place + 1 :]
    lines[2] = b"{}"
    (tmp_path / "anchor").write_bytes(b"\n".join(lines))
    report = check(segments)
    assert [finding.damage.value for finding in report.findings] == ["anchor", "anchor"]
    assert "line 3 is no anchor" in report.findings[0].message
    assert "its signature is wrong" in report.findings[1].message


def test_a_repair_is_reported_and_is_no_damage(tmp_path: Path, whole: bytes) -> None:
    put_segments(tmp_path / "journal", {1: whole[:-9]})
    writer = JournalWriter(tmp_path / "journal", HEADER, signer=SIGNER, reopen=True)
    writer.close()
    report = verify(tmp_path / "journal", key=SIGNER.public_key)
    assert report.verdict is Verdict.WHOLE
    assert [text.partition(" (SHA-256")[0] for text in report.repairs] == [
        f"after record 11: {len(frames_in(whole)[-1].whole) - 9} unfinished bytes were cut off 000001.tdj at byte "
        f"{frames_in(whole)[-1].offset}"
    ]


# The command line.


def test_a_run_is_verified_from_the_command_line(tmp_path: Path) -> None:
    run = run_of(tradingd("backtest", write_config(tmp_path), "--json", "--anchor", "seals", cwd=tmp_path))
    folder = Path(run["folder"])
    result = tradingd("audit", "verify", folder, "--anchor", "seals", "--json", cwd=tmp_path)
    report = run_of(result)
    assert (result.returncode, report["verdict"], report["findings"], report["anchors"]) == (0, "whole", [], report["seals"])
    assert (report["run_id"], report["records"], report["key_is_known"]) == (run["run_id"], run["journal_records"], True)
    text = tradingd("audit", "verify", folder, cwd=tmp_path)
    assert text.returncode == 0
    assert text.stdout.startswith(f"{folder}: whole\n  run {run['run_id']}, journal {report['journal_id']}, key ")
    assert "(the one expected)" in text.stdout
    segment = folder / "journal" / "000001.tdj"
    data = segment.read_bytes()
    segment.write_bytes(data[:5_000] + bytes([data[5_000] ^ 1]) + data[5_001:])
    result = tradingd("audit", "verify", folder, cwd=tmp_path)
    assert result.returncode == 8
    assert "EDITED  000001.tdj, byte " in result.stdout
    segment.write_bytes(data[:-1])
    result = tradingd("audit", "verify", folder, cwd=tmp_path)
    assert (result.returncode, "there is no signed end" in result.stdout) == (11, True)
    result = tradingd("audit", "verify", folder, "--anchor", "seals", cwd=tmp_path)
    assert (result.returncode, "CUT  seals, frame" in result.stdout) == (8, True)
    result = tradingd("audit", "verify", tmp_path, "--json", cwd=tmp_path)
    assert (result.returncode, json.loads(result.stdout)["error"]["type"]) == (4, "DataError")


def test_a_key_named_on_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = run_of(tradingd("backtest", write_config(tmp_path), "--json", cwd=tmp_path))
    monkeypatch.setenv("TRADINGD_STATE_DIR", str(tmp_path / "elsewhere"))
    run_of(tradingd("backtest", write_config(tmp_path), "--json", cwd=tmp_path))
    other = tmp_path / "elsewhere" / PUBLIC_KEY_FILE
    result = tradingd("audit", "verify", run["folder"], "--key", other, cwd=tmp_path)
    assert (result.returncode, "WRONG KEY" in result.stdout) == (8, True)


def test_a_run_without_a_key_is_not_signed_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("TRADINGD_STATE_DIR", str(tmp_path / "file" / "state"))
    run = run_of(tradingd("backtest", write_config(tmp_path), "--json", cwd=tmp_path))
    assert "the journal is not signed" in (Path(run["folder"]) / "log.jsonl").read_text(encoding="utf-8")
    result = tradingd("audit", "verify", run["folder"], "--json", cwd=tmp_path)
    report = run_of(result)
    assert (result.returncode, report["verdict"], report["public_key"]) == (0, "whole", "")
    assert "the journal is not signed: a whole rewrite shows only against an anchor" in report["notes"]
