"""`tradingd data fetch` from end to end, its source mocked below httpx."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from pathlib import Path

import httpx
import pytest
import respx

from tests.daemon.session import tradingd

MINUTE_MS = 60_000
DAY = 1_704_067_200_000  # 2024-01-01


def archive(*minutes: int) -> bytes:
    lines = [f"{DAY + minute * MINUTE_MS},1.50,1.75,1.25,1.50,10,0,0,0,0,0,0" for minute in minutes]
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as file:
        file.writestr("x.csv", "\n".join(lines))
    return out.getvalue()


def serve(content: bytes) -> respx.Route:
    route = respx.get(url__regex=r"https://data\.binance\.vision/.*\.zip$").mock(
        return_value=httpx.Response(200, content=content)
    )
    told = f"{hashlib.sha256(content).hexdigest()}  x.zip"
    respx.get(url__regex=r"https://data\.binance\.vision/.*\.CHECKSUM$").mock(return_value=httpx.Response(200, text=told))
    return route


ARGUMENTS = ("data", "fetch", "binance", "BTCUSDT", "--start", "2024-01-01", "--end", "2024-02-01", "--interval", "1m")


@respx.mock
def test_what_was_fetched_is_kept_and_a_second_time_nothing_is_asked_for(tmp_path: Path) -> None:
    route = serve(archive(0, 1, 2, 5))
    first = tradingd(*ARGUMENTS, "--json", cwd=tmp_path)
    assert first.returncode == 0, first
    file = "data/binance/BTCUSDT/bars-1m.parquet"
    expected = {
        "file": file,
        "rows": 4,
        "first": "2024-01-01T00:00:00Z",
        "last": "2024-01-01T00:05:00Z",
        "repeated": 0,
        "gaps": 1,
        "gaps_within_days": 1,
        "gaps_shown": [["2024-01-01T00:02:00Z", "2024-01-01T00:05:00Z"]],
    }
    assert json.loads(first.stdout) == {**expected, "parts": 1, "fetched": 1, "kept": 0}
    second = json.loads(tradingd(*ARGUMENTS, "--json", cwd=tmp_path).stdout)
    assert (second["rows"], second["fetched"], second["kept"], route.call_count) == (4, 0, 1, 1)
    assert json.loads(tradingd("data", "list", "--json", cwd=tmp_path).stdout) == [expected]
    shown = tradingd("data", "list", cwd=tmp_path).stdout
    assert shown.splitlines()[0] == f"{file}: 4 rows, 2024-01-01T00:00:00Z to 2024-01-01T00:05:00Z"
    assert tradingd("data", "check", "bars", file, "--interval", "1m", cwd=tmp_path).returncode == 0


@respx.mock
def test_progress_is_said_and_a_source_that_cannot_be_reached_leaves_what_was_fetched(tmp_path: Path) -> None:
    serve(archive(0))
    assert "1/1 2024-01: 1 rows so far" in tradingd(*ARGUMENTS, cwd=tmp_path).stderr
    respx.get(url__regex=r".*").mock(return_value=httpx.Response(403, text="no"))
    assert (tmp_path / "data/binance/BTCUSDT/bars-1m/parts/2024-01.parquet").is_file()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("polygon", "AAPL", "--start", "2024-01-01"), "--key"),
        (("binance", "BTCUSDT", "--start", "yesterday"), "is no day or time"),
        (("binance", "BTCUSDT", "--start", "2024-01-02", "--end", "2024-01-01"), "must lie behind"),
        (("binance", "BTCUSDT", "--start", "2024-01-01", "--interval", "7m"), "has bars of"),
        (("binance", "BTCUSDT", "--start", "2024-01-01", "--interval", "x"), "--interval"),
        (("binance", "BTC USDT", "--start", "2024-01-01"), "can be no symbol"),
        (("binance", "BTCUSDT", "--start", "2024-01-01", "--market", "moon"), "spot, usdm, coinm"),
        (("binance", "BTCUSDT", "--start", "2024-01-01", "--kind", "quotes"), "no archive of spot quotes"),
        (("yfinance", "AAPL", "--start", "2024-01-01", "--kind", "trades"), "yfinance has bars"),
    ],
)
def test_what_cannot_be_fetched_is_said_before_anything_is_asked(tmp_path: Path, arguments: tuple[str, ...], words: str) -> None:
    result = tradingd("data", "fetch", *arguments, cwd=tmp_path)
    assert result.returncode == 3
    assert words in result.stderr
    assert not (tmp_path / "data").exists()
