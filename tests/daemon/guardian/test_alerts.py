"""Alerts: harmless, said once, limited, and each place served by itself, whatever another one does."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
import respx

from daemon.guardian import alerts
from daemon.guardian.alerts import QUEUE_ALERTS_MAX, Alerter, Sink, SinkError, plain
from daemon.guardian.sinks import CommandSink, FileSink, WebhookSink
from daemon.trading.listener import Alert, Severity

TS = 1_767_623_400_000_000_000
URL = "https://hooks.example/T000/verysecret"
SECONDS_MAX = 30


class Kept:
    """A place that keeps what it gets; refuses the first so many."""

    def __init__(self, lowest: Severity = Severity.INFO, *, refuses: int = 0, name: str = "kept") -> None:
        self.name = name
        self.lowest = lowest
        self.got: list[dict[str, Any]] = []
        self.tried = 0
        self._refuses = refuses

    async def send(self, content: dict[str, Any]) -> None:
        self.tried += 1
        if self.tried <= self._refuses:
            raise SinkError(f"refused {URL}")
        self.got.append(content)


class Stuck(Kept):
    async def send(self, content: dict[str, Any]) -> None:
        self.tried += 1
        await anyio.sleep_forever()


def alert(text: str, severity: Severity = Severity.WARNING, kind: str = "test") -> Alert:
    return Alert(kind=kind, severity=severity, text=text, ts=TS)


def run(sinks: list[Sink], tell: Callable[[Alerter], None], until: Callable[[Alerter], bool], **settings: Any) -> Alerter:
    """Tell, and serve until the condition holds."""
    made: list[Alerter] = []

    async def main() -> None:
        alerter = Alerter("paper", sinks, **{"repeat_after_s": 300.0, "per_minute_max": 30, "secrets": (URL,), **settings})
        made.append(alerter)
        with anyio.fail_after(SECONDS_MAX):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(alerter.run)
                tell(alerter)
                while not until(alerter):
                    await anyio.sleep(0.001)
                tasks.cancel_scope.cancel()

    anyio.run(main)
    return made[0]


def test_an_alert_arrives_whole() -> None:
    kept = Kept()
    run([kept], lambda a: a.tell(alert("the venue is gone"), "guardian") and None, lambda _a: bool(kept.got))
    assert kept.got == [
        {
            "ts": TS,
            "time": "2026-01-05T14:30:00.000000000Z",
            "account": "paper",
            "source": "guardian",
            "kind": "test",
            "severity": "warning",
            "text": "the venue is gone",
        }
    ]


def test_each_place_gets_what_is_severe_enough_for_it() -> None:
    low, high = Kept(), Kept(Severity.CRITICAL)

    def tell(alerter: Alerter) -> None:
        for severity in Severity:
            alerter.tell(alert(severity.value, severity), "daemon")

    run([low, high], tell, lambda _a: len(low.got) == 3 and len(high.got) == 1)
    assert [content["text"] for content in high.got] == ["critical"]


def test_the_same_again_is_said_once() -> None:
    kept = Kept()

    def tell(alerter: Alerter) -> None:
        def said(kind: str, *texts: str) -> list[bool]:
            return [alerter.tell(alert(text, kind=kind), "daemon") for text in texts]

        assert said("foreign", "order 17", "order 17", "order 18") == [True, False, True]
        # Where a number changes from one time to the next of the same thing, it makes no difference.
        assert said("connection", "gone for 1.5 s", "gone for 2 s", "back") == [True, False, True]
        # What changed and changed again is news each time.
        assert said("kill_cleared", "resumed", "resumed") == [True, True]

    run([kept], tell, lambda _a: len(kept.got) == 6)


def test_a_storm_is_cut_and_counted_and_critical_ones_still_go() -> None:
    kept = Kept()

    def tell(alerter: Alerter) -> None:
        for number in range(50):
            alerter.tell(alert("x" * number), "daemon")
        alerter.tell(alert("at last", Severity.CRITICAL), "daemon")

    run([kept], tell, lambda _a: len(kept.got) == 11, per_minute_max=10)
    # The first one that goes out after some were left out says how many.
    assert sum(content.get("left_out", 0) for content in kept.got) == 40
    assert kept.got[-1]["text"] == "at last"


def test_a_place_that_hangs_delays_no_other_and_its_queue_is_bounded() -> None:
    kept, stuck = Kept(name="other"), Stuck()
    count = QUEUE_ALERTS_MAX + 20

    def tell(alerter: Alerter) -> None:
        for number in range(count):
            alerter.tell(alert("x" * number, Severity.INFO), "daemon")
        alerter.tell(alert("worse", Severity.CRITICAL), "daemon")

    alerter = run([stuck, kept], tell, lambda _a: len(kept.got) >= QUEUE_ALERTS_MAX, per_minute_max=10_000)
    waiting = alerter.status()[0]["waiting"]
    assert waiting <= QUEUE_ALERTS_MAX
    assert kept.got[-1]["text"] == "worse"


def test_a_place_that_refuses_is_asked_again_a_bounded_number_of_times(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alerts, "BACKOFF_S_MIN", 0.001)
    monkeypatch.setattr(alerts, "BACKOFF_S_MAX", 0.002)
    once, never = Kept(refuses=1, name="once"), Kept(refuses=10**9, name="never")
    tell = lambda a: a.tell(alert("gone"), "daemon") and None  # noqa: E731 - one word for what is done
    alerter = run([once, never], tell, lambda a: bool(once.got) and a.status()[1]["failed"] == 1)
    status = {line["to"]: line for line in alerter.status()}
    assert (once.tried, never.tried) == (2, alerts.TRIES_MAX)
    # Why it failed is said without the secret in it.
    assert status["never"]["last_failure"] == "refused ***"


def test_secrets_and_what_a_terminal_obeys_do_not_get_out() -> None:
    kept = Kept()
    text = f"\x1b[31mred\x1b[0m \x1b]0;title\x07bell\x07 {URL}\nnew\u202eline\x9b2J"
    run([kept], lambda a: a.tell(alert(text), "daemon") and None, lambda _a: bool(kept.got))
    assert kept.got[0]["text"] == "red bell *** newline2J"
    assert plain("x\x00y\u2028z") == "xy z"


# The places.


def content(text: str = "gone") -> dict[str, Any]:
    return {"time": "2026-01-05T14:30:00.000000000Z", "kind": "test", "severity": "critical", "text": text}


def test_the_file_gets_a_line_each_also_after_it_was_moved_away(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "alerts.jsonl"
    sink = FileSink(path, Severity.INFO)

    async def main() -> None:
        await sink.send(content("one"))
        path.rename(path.with_name("old"))
        await sink.send(content("two"))

    anyio.run(main)
    assert json.loads(path.read_text()) == content("two")
    assert path.stat().st_mode & 0o007 == 0


def test_a_file_that_cannot_be_written_is_a_failure_of_that_place(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    with pytest.raises(SinkError, match="taken"):
        anyio.run(FileSink(tmp_path / "taken" / "alerts", Severity.INFO).send, content())


def test_the_webhook_is_posted_as_json() -> None:
    async def main() -> Any:
        with respx.mock:
            route = respx.post(URL).mock(return_value=httpx.Response(204))
            await WebhookSink(URL, Severity.INFO, 1.0).send(content())
            return route.calls.last.request

    request = anyio.run(main)
    assert (json.loads(request.content), request.headers["content-type"]) == (content(), "application/json")


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (httpx.Response(500, text=URL), "the webhook answered 500"),
        (httpx.Response(302, headers={"location": "https://elsewhere.example/"}), "the webhook answered 302"),
        (httpx.ConnectError(f"no route to {URL}"), "the webhook: ConnectError"),
        (httpx.ReadTimeout(URL), "the webhook: ReadTimeout"),
    ],
)
def test_what_goes_wrong_with_the_webhook_never_names_it(answer: Any, words: str) -> None:
    async def main() -> str:
        with respx.mock:
            route = respx.post(URL)
            if isinstance(answer, httpx.Response):
                route.mock(return_value=answer)
            else:
                route.mock(side_effect=answer)
            with pytest.raises(SinkError) as caught:
                await WebhookSink(URL, Severity.INFO, 1.0).send(content())
            return str(caught.value)

    assert anyio.run(main) == words


def command(*code: str, timeout_s: float = SECONDS_MAX) -> CommandSink:
    return CommandSink([sys.executable, "-c", *code], Severity.INFO, timeout_s)


def test_the_command_gets_json_on_its_input_and_nothing_secret_around_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRADINGD_SECRET_HOOK", URL)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", "/somewhere")
    out = tmp_path / "out"
    code = f"import json,os,sys; json.dump([json.load(sys.stdin), sorted(os.environ)], open({str(out)!r}, 'w'))"
    anyio.run(command(code).send, content())
    got, names = json.loads(out.read_text())
    assert got == content()
    assert not [name for name in names if name.startswith(("TRADINGD", "CREDENTIALS"))]


def test_a_command_that_fails_says_why() -> None:
    with pytest.raises(SinkError, match="ended with 3: no such pager"):
        anyio.run(command("import sys; sys.stderr.write('no such pager'); sys.exit(3)").send, content())


def test_a_command_that_never_ends_is_ended_with_what_it_started(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    code = (
        "import subprocess,sys,time\n"
        f"child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        f"open({str(pid_file)!r}, 'w').write(str(child.pid))\n"
        "child.wait()"
    )
    with pytest.raises(SinkError, match="did not end"):
        anyio.run(command(code, timeout_s=2.0).send, content())
    if pid_file.exists():
        anyio.run(_until_gone, Path(f"/proc/{pid_file.read_text()}/stat"))


async def _until_gone(stat: Path) -> None:
    """A process that was killed may still have to get its turn on a busy machine."""
    with anyio.fail_after(30):
        while stat.exists() and stat.read_text().split(")")[-1].split()[0] != "Z":
            await anyio.sleep(0.01)


def test_a_command_that_is_not_there_is_a_failure() -> None:
    with pytest.raises(SinkError, match="cannot be started"):
        anyio.run(CommandSink(["/nowhere/at/all"], Severity.INFO, 1.0).send, content())
