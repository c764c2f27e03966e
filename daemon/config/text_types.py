"""The forms in which a configuration writes numbers: decimal text, durations, fee rates, percentages; never a float.

TOML's own numbers are kept as they were typed (`TomlFloat`), so that 0.1 is exactly 0.1 here too.
"""

from __future__ import annotations

import difflib
import re
import zoneinfo
from datetime import date, datetime
from fractions import Fraction
from typing import Annotated, Any

from pydantic import AfterValidator, AwareDatetime, BeforeValidator, WithJsonSchema

from core.errors import UnitError
from core.instruments import parse_fee_rate
from core.units import NS_PER_DAY, parse_duration_ns, parse_fixed

_DECIMAL = re.compile(r"[+-]?\d{1,30}(\.\d{1,30})?\Z", re.ASCII)
PPM_SCALE = 6
SIGMA_MAX = 10  # the native model's own limit (native/venue_latency.c)


class TomlFloat(float):
    """A TOML float that remembers its text. As a float it is what strategies' parameters may use; as text it is exact."""

    text: str

    def __new__(cls, text: str) -> TomlFloat:
        made = super().__new__(cls, text)
        made.text = text.replace("_", "")
        return made


def _text(value: Any) -> str:
    if isinstance(value, TomlFloat):
        return value.text
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    raise ValueError(f"{value!r} is not a decimal number; write it as text, for example '0.5'")


def _decimal(value: Any) -> str:
    text = _text(value)
    if not _DECIMAL.match(text):
        raise ValueError(f"{text!r} is not a decimal number; write for example '0.5'")
    return text


def _not_negative(value: Any) -> str:
    text = _decimal(value)
    if text.startswith("-") and text.strip("-0."):
        raise ValueError(f"{text} must not be negative")
    return text


def _positive(value: Any) -> str:
    text = _not_negative(value)
    if not text.strip("+-0."):
        raise ValueError(f"{text} must be above 0")
    return text


def _duration(value: Any) -> str:
    text = _text(value)
    try:
        parse_duration_ns(text)
    except UnitError as error:
        raise ValueError(str(error)) from None
    return text


def _positive_duration(value: Any) -> str:
    text = _duration(value)
    if parse_duration_ns(text) == 0:
        raise ValueError(f"{text!r} must be above 0")
    return text


def _time_of_day(value: Any) -> str:
    text = _duration(value)
    if parse_duration_ns(text) >= NS_PER_DAY:
        raise ValueError(f"{text!r} must be below 24h")
    return text


def _sigma(value: Any) -> str:
    text = _not_negative(value)
    if Fraction(text) > SIGMA_MAX:
        raise ValueError(f"{text} must be from 0 to {SIGMA_MAX}")
    return text


def _fee_rate(value: Any) -> str:
    text = _text(value)
    try:
        parse_fee_rate(text)
    except UnitError as error:
        raise ValueError(f"{error}; write a fee as '0.02%', '2bp' or '0.0002', a rebate as '-0.01%'") from None
    return text


def _percentage(value: Any) -> str:
    text = _text(value)
    if not text.endswith("%"):
        raise ValueError(f"{text!r} is not a percentage; write for example '5%'")
    try:
        ppm = parse_percentage_ppm(text)
    except UnitError as error:
        raise ValueError(str(error)) from None
    if ppm < 0:
        raise ValueError(f"{text} must not be negative")
    return text


def _conversion(value: Any) -> str:
    """A rate, or the id of an instrument whose market is the rate."""
    if isinstance(value, str) and "." in value and not _DECIMAL.match(value.strip()):
        return value.strip()
    return _positive(value)


def parse_percentage_ppm(text: str) -> int:
    """ "5%" as 50_000 millionths."""
    return parse_fixed(text.removesuffix("%").strip(), PPM_SCALE - 2)


def _moment(value: Any) -> Any:
    """TOML's own date-time, or the same as ISO 8601 text: what `config show` prints can be loaded again."""
    if not isinstance(value, str):
        return value
    try:
        return datetime.fromisoformat(value)
    except ValueError:
        raise ValueError(f"{value!r} is not a date-time; write for example 2026-01-05T14:30:00Z") from None


def _day(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return date.fromisoformat(value)
    except ValueError:
        raise ValueError(f"{value!r} is not a date; write for example 2026-01-05") from None


def moving_pace(text: str) -> str:
    """A pace at which simulated time moves. Raises ValueError."""
    if text != "full" and not text.strip("0.x"):
        raise ValueError(f"{text!r} must be above 0")
    return text


def parse_zone(name: str) -> str:
    """The name, where the tz database has it. Raises ValueError."""
    if name not in zoneinfo.available_timezones():
        close = difflib.get_close_matches(name, sorted(zoneinfo.available_timezones()), n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise ValueError(f"{name!r} is no zone of the tz database{hint}")
    return name


def _schema(pattern: str, example: str) -> WithJsonSchema:
    return WithJsonSchema({"type": ["string", "number"], "pattern": pattern, "examples": [example]})


_DECIMAL_PATTERN = r"^[+-]?\d+(\.\d+)?$"
_DURATION_PATTERN = r"^\d+(\.\d+)?\s*(ns|us|ms|s|m|h|d)$"

Decimal = Annotated[str, BeforeValidator(_decimal), _schema(_DECIMAL_PATTERN, "-0.5")]
NotNegative = Annotated[str, BeforeValidator(_not_negative), _schema(_DECIMAL_PATTERN, "0.5")]
Positive = Annotated[str, BeforeValidator(_positive), _schema(_DECIMAL_PATTERN, "0.01")]
Duration = Annotated[str, BeforeValidator(_duration), _schema(_DURATION_PATTERN, "250us")]
PositiveDuration = Annotated[str, BeforeValidator(_positive_duration), _schema(_DURATION_PATTERN, "1s")]
Sigma = Annotated[str, BeforeValidator(_sigma), _schema(_DECIMAL_PATTERN, "0.25")]
TimeOfDay = Annotated[str, BeforeValidator(_time_of_day), _schema(_DURATION_PATTERN, "20h")]
FeeRate = Annotated[str, BeforeValidator(_fee_rate), _schema(r"^[+-]?\d+(\.\d+)?\s*(%|bp)?$", "0.02%")]
Percentage = Annotated[str, BeforeValidator(_percentage), _schema(r"^\d+(\.\d+)?\s*%$", "5%")]
Conversion = Annotated[str, BeforeValidator(_conversion), _schema(r"^\S+$", "BTCUSDT.BINANCE")]
Moment = Annotated[AwareDatetime, BeforeValidator(_moment)]
Day = Annotated[date, BeforeValidator(_day)]
Zone = Annotated[str, AfterValidator(parse_zone)]
