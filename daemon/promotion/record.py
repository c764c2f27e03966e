"""The promotion as it is kept beside the live account: what was promoted, on what evidence, until when; signed."""

from __future__ import annotations

from pathlib import Path

import msgspec

from core.errors import ConfigError, StorageError
from daemon.journal.files import DISK, Files, make_durable_folder
from daemon.journal.keys import Signer, is_signed_by
from daemon.promotion.evidence import PaperRun
from daemon.promotion.identity import Identity
from daemon.promotion.judgement import Criterion
from daemon.timestamps import iso
from daemon.trading.durable_file import replace_file

PROMOTION_FILE = "promotion.json"
FOLDERS_MADE = 2  # the account's folder and what daemon.state_folder names
BYTES_MAX = 4 << 20


class Promotion(msgspec.Struct, frozen=True, kw_only=True):
    """`public_key` signed `given`, the rest as JSON."""

    account: str
    ts: int  # ns UTC
    ts_until: int
    tradingd: str
    identity: Identity
    criteria: list[Criterion]
    runs: list[PaperRun]


class _Signed(msgspec.Struct, frozen=True, kw_only=True):
    given: msgspec.Raw
    public_key: str
    signature: str


def keep(promotion: Promotion, account_folder: Path, signer: Signer, files: Files = DISK) -> Path:
    """Durable when this returns; one that was there is replaced. Raises StorageError."""
    given = msgspec.json.encode(promotion)
    signed = _Signed(given=msgspec.Raw(given), public_key=signer.public_key, signature=signer.sign(given).hex())
    path = account_folder / PROMOTION_FILE
    try:
        make_durable_folder(account_folder, FOLDERS_MADE, files)
    except OSError as error:
        raise StorageError(f"{account_folder}: cannot be made: {error.strerror or error}") from error
    replace_file(path, msgspec.json.encode(signed) + b"\n", files)
    return path


def read(account_folder: Path, key: str | None) -> Promotion | None:
    """The account's promotion; None where there is none. `key`: the public key that must have signed it, None: any.

    Raises ConfigError for one that cannot be read or was not signed so.
    """
    path = account_folder / PROMOTION_FILE
    try:
        with path.open("rb") as file:
            data = file.read(BYTES_MAX)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror or error}") from error
    try:
        signed = msgspec.json.decode(data, type=_Signed)
        given = bytes(signed.given)
        promotion = msgspec.json.decode(given, type=Promotion)
        signature = bytes.fromhex(signed.signature)
    except (msgspec.MsgspecError, ValueError) as error:
        raise ConfigError(f"{path}: is damaged: {error}; earn it again: tradingd promote") from None
    if not is_signed_by(signed.public_key, signature, given):
        raise ConfigError(f"{path}: was changed after it was signed; earn it again: tradingd promote")
    if key is not None and signed.public_key != key:
        raise ConfigError(f"{path}: is signed by another key than this daemon's: run tradingd promote as the daemon's user")
    return promotion


def refusal(promotion: Promotion | None, account: str, identity: Identity, now: int) -> str:
    """Why `account` may not trade `identity` live; empty where it may."""
    if promotion is None:
        return "it was never promoted"
    if promotion.account != account:
        return f"its promotion is of the account {promotion.account!r}"
    if now >= promotion.ts_until:
        return f"its promotion ended at {iso(promotion.ts_until)}"
    differences = identity.differences(promotion.identity)
    return f"it is not what was promoted: {differences[0]}" if differences else ""
