"""Secrets are found in their order, refused where others may read them, and never shown."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from core.errors import ConfigError
from daemon.journal.keys import known_key, open_signer
from daemon.secrets import SECRET_BYTES_MAX, read_secret


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """All three places, empty: folders `credentials` and `secrets`, and the environment."""
    for name, variable in (("credentials", "CREDENTIALS_DIRECTORY"), ("secrets", "TRADINGD_SECRETS_DIR")):
        (tmp_path / name).mkdir()
        monkeypatch.setenv(variable, str(tmp_path / name))
    return tmp_path


def write(path: Path, content: bytes, mode: int = 0o600) -> None:
    path.write_bytes(content)
    path.chmod(mode)


def test_the_first_place_that_has_it_counts(places: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRADINGD_SECRET_VENUE_TOKEN", "from the environment")
    found = [read_secret("venue-token")]
    write(places / "secrets/venue-token", b"from the folder\n")
    found.append(read_secret("venue-token"))
    write(places / "credentials/secret_venue-token", b"from the loaded folder\r\n", 0o440)
    found.append(read_secret("venue-token"))
    write(places / "credentials/venue-token", b"two\nlines\n\n", 0o440)
    found.append(read_secret("venue-token"))
    assert found == ["from the environment", "from the folder", "from the loaded folder", "two\nlines\n"]


def test_several_folders_are_tried_in_order(places: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (places / "more").mkdir()
    monkeypatch.setenv("TRADINGD_SECRETS_DIR", f"{places}/secrets:{places}/more")
    write(places / "more/token", b"second")
    found = [read_secret("token")]
    write(places / "secrets/token", b"first")
    assert [*found, read_secret("token")] == ["second", "first"]
    with pytest.raises(ConfigError, match=f"{places}/secrets/other; {places}/more/other; "):
        read_secret("other")


def test_a_missing_one_names_every_place(places: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError) as raised:
        read_secret("token")
    assert str(raised.value) == (
        f"there is no secret 'token'; looked for {places}/credentials/token; {places}/credentials/secret_token; "
        f"{places}/secrets/token; $TRADINGD_SECRET_TOKEN"
    )
    monkeypatch.delenv("CREDENTIALS_DIRECTORY")
    monkeypatch.delenv("TRADINGD_SECRETS_DIR")
    with pytest.raises(ConfigError) as raised:
        read_secret("token")
    assert str(raised.value) == (
        "there is no secret 'token'; looked for $CREDENTIALS_DIRECTORY/token (not set); $TRADINGD_SECRETS_DIR/token (not set); "
        "$TRADINGD_SECRET_TOKEN"
    )


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o666])
def test_one_that_others_may_read_or_change_is_refused(places: Path, mode: int) -> None:
    write(places / "secrets/token", b"hunter2", mode)
    with pytest.raises(ConfigError, match=f"others may read or change this secret \\(mode {mode:04o}\\): chmod 600") as raised:
        read_secret("token")
    assert "hunter2" not in str(raised.value)


def test_no_later_place_is_tried_where_one_is_wrong(places: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRADINGD_SECRET_TOKEN", "old")
    (places / "secrets/token").symlink_to(places / "nowhere")
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        read_secret("token")


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "is empty"),
        (b"\n", "is empty"),
        (b"x" * (SECRET_BYTES_MAX + 1), "longer than"),
        (b"hunter2\xff", "no UTF-8"),
        (b"hunter2\0", "zero byte"),
    ],
)
def test_what_can_be_no_secret_is_refused_without_showing_it(places: Path, content: bytes, why: str) -> None:
    write(places / "secrets/token", content)
    with pytest.raises(ConfigError, match=why) as raised:
        read_secret("token")
    assert "hunter2" not in str(raised.value)
    assert raised.value.__cause__ is None


def test_a_pipe_in_its_place_holds_nobody_up(places: Path) -> None:
    os.mkfifo(places / "secrets/token")
    with pytest.raises(ConfigError, match="is no file"):
        read_secret("token")


@pytest.mark.parametrize("name", ["", "../token", "a/b", ".hidden", "a\0b", "a b", "a" * 65, "ä"])
def test_a_name_that_leads_elsewhere_is_refused(places: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="can be no secret's name"):
        read_secret(name)


def test_the_journal_is_signed_with_the_secret_of_that_name(
    places: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TRADINGD_JOURNAL_KEY", raising=False)
    monkeypatch.setenv("TRADINGD_STATE_DIR", str(tmp_path / "state"))
    key = Ed25519PrivateKey.generate()
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    write(places / "credentials/journal_key", pem, 0o440)
    public = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw).hex()
    assert (open_signer().public_key, known_key()) == (public, public)
    assert not (tmp_path / "state").exists()


def test_a_secret_that_is_no_key_is_refused_without_showing_it(places: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRADINGD_JOURNAL_KEY", raising=False)
    write(places / "secrets/journal_key", b"hunter2\n")
    with pytest.raises(ConfigError, match="no PEM file of a private key") as raised:
        open_signer()
    assert "hunter2" not in str(raised.value)
