"""The key that signs journals: made on first use under the state folder, for its user only; and the keys a reader knows."""

from __future__ import annotations

import os
import stat
from functools import lru_cache
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from core.errors import ConfigError, StorageError
from daemon.secrets import find_secret, read_secret

KEY_FILE = "journal-key.pem"
PUBLIC_KEY_FILE = "journal-key.pub.pem"
KEY_VARIABLE = "TRADINGD_JOURNAL_KEY"
KEY_SECRET = "journal_key"
KEY_BYTES_MAX = 1 << 14


class Signer:
    """An Ed25519 private key; `public_key` is its other half, 64 hexadecimal digits."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key
        self.public_key = _hex_of(key.public_key())

    def sign(self, message: bytes) -> bytes:
        return self._key.sign(message)


def state_folder() -> Path:
    """$TRADINGD_STATE_DIR, what systemd gave ($STATE_DIRECTORY), tradingd below $XDG_STATE_HOME, or ~/.local/state/tradingd."""
    for name in ("TRADINGD_STATE_DIR", "STATE_DIRECTORY"):
        chosen = os.environ.get(name)
        if chosen:
            return Path(chosen.partition(":")[0])
    home = os.environ.get("XDG_STATE_HOME")
    return Path(home) / "tradingd" if home else Path("~/.local/state/tradingd").expanduser()


def open_signer(key_file: Path | None = None) -> Signer:
    """The key of `key_file`, of $TRADINGD_JOURNAL_KEY, the secret `journal_key`, or of the state folder, made there on first use.

    Raises ConfigError for a named key that cannot be used, StorageError where the state folder refuses.
    """
    named = key_file or _named_by_environment()
    if named is not None:
        # A credential may be readable by the service's group; nobody else may read a key.
        return Signer(_load_private(named, forbidden=stat.S_IRWXO | stat.S_IWGRP))
    secret = find_secret(KEY_SECRET)
    if secret is not None:
        return Signer(_private_of(read_secret(KEY_SECRET).encode(), secret.text))
    folder = state_folder()
    path = folder / KEY_FILE
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not path.exists():
            _make(path)
    except OSError as error:
        raise StorageError(
            f"{path}: the journal's key cannot be kept: {error.strerror or error}; set TRADINGD_STATE_DIR to a folder that can be"
        ) from error
    return Signer(_load_private(path, forbidden=stat.S_IRWXO | stat.S_IRWXG))


def known_key(key_file: Path | None = None) -> str | None:
    """The public key this machine would expect: of `key_file` (public or private), the environment's, the secret's, or the state
    folder's."""
    named = key_file or _named_by_environment()
    if named is not None:
        return load_public(named)
    secret = find_secret(KEY_SECRET)
    if secret is not None:
        return _public_of(read_secret(KEY_SECRET).encode(), secret.text)
    for name in (PUBLIC_KEY_FILE, KEY_FILE):
        path = state_folder() / name
        if path.is_file():
            return load_public(path)
    return None


def load_public(path: Path) -> str:
    """The public key of a PEM file that holds either half. Raises ConfigError."""
    return _public_of(_read(path), str(path))


@lru_cache(maxsize=4_096)
def is_signed_by(public_key: str, signature: bytes, message: bytes) -> bool:
    """Whether `signature` of `message` was made by the private half of `public_key` (hexadecimal)."""
    try:
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(public_key)).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


def _named_by_environment() -> Path | None:
    chosen = os.environ.get(KEY_VARIABLE)
    return Path(chosen) if chosen else None


def _make(path: Path) -> None:
    """Whole or not at all: of two daemons that start at once, both use the key of the one that was first."""
    key = Ed25519PrivateKey.generate()
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(secret)
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(draft, path)
        except FileExistsError:
            return
    finally:
        draft.unlink(missing_ok=True)
    # A reader needs no secret: `audit verify` on another machine takes this one.
    path.with_name(PUBLIC_KEY_FILE).write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))


def _load_private(path: Path, *, forbidden: int) -> Ed25519PrivateKey:
    data = _read(path)
    mode = path.stat().st_mode
    if mode & forbidden:
        raise ConfigError(f"{path}: others may read or change this key (mode {stat.S_IMODE(mode):04o}): chmod 600 it")
    return _private_of(data, str(path))


def _private_of(data: bytes, place: str) -> Ed25519PrivateKey:
    try:
        key = load_pem_private_key(data, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise ConfigError(f"{place}: is no PEM file of a private key without a password: {error}") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise ConfigError(f"{place}: is not an Ed25519 key; make one: openssl genpkey -algorithm ed25519")
    return key


def _public_of(data: bytes, place: str) -> str:
    try:
        key = load_pem_public_key(data) if b"PUBLIC KEY" in data else load_pem_private_key(data, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise ConfigError(f"{place}: is no PEM file of a key without a password: {error}") from None
    if isinstance(key, Ed25519PrivateKey):
        return _hex_of(key.public_key())
    if isinstance(key, Ed25519PublicKey):
        return _hex_of(key)
    raise ConfigError(f"{place}: is not an Ed25519 key")


def _read(path: Path) -> bytes:
    try:
        with open(path, "rb") as file:
            data = file.read(KEY_BYTES_MAX + 1)
    except OSError as error:
        raise ConfigError(f"{path}: the key cannot be read: {error.strerror or error}") from None
    if len(data) > KEY_BYTES_MAX:
        raise ConfigError(f"{path}: is no key: longer than {KEY_BYTES_MAX} bytes")
    return data


def _hex_of(key: Ed25519PublicKey) -> str:
    return key.public_bytes(Encoding.Raw, PublicFormat.Raw).hex()
