"""Every error tradingd raises on purpose, in one tree; the type says who is to blame.

TradingdError
├── InputError             the user's input: a file, a value, a command line
│   ├── ConfigError        a configuration key or value
│   └── DataError          a market-data file: carries file and line (or row)
├── UnitError              a number that cannot be represented exactly in the instrument's units
├── StrategyError          the strategy's code raised, or asked for something impossible
├── StateError             an event that the order state machine does not allow; the event is kept
├── CapacityError          a limit with a name was reached
├── StorageError           a file or disk refused: journal, run folder
├── VenueProtocolError     the venue sent something outside its own protocol
├── TransportError         the network failed before anything was sent
├── RefusedError           the venue said no
└── UnknownOutcomeError    sent, and nobody can say what became of it

A bug of our own is an AssertionError and is never caught.
"""

from __future__ import annotations


class TradingdError(Exception):
    """Root of the tree: `str()` is a sentence that names the fix where there is one."""


class InputError(TradingdError):
    """The user's input cannot be used."""


class ConfigError(InputError):
    """A configuration key or value is wrong."""


class DataError(InputError):
    """A market-data file is damaged or is not what it claims to be."""

    def __init__(self, message: str, *, file: str, line: int | None = None) -> None:
        self.file = file
        self.line = line
        super().__init__(f"{file}:{line}: {message}" if line is not None else f"{file}: {message}")


class UnitError(TradingdError, ValueError):
    """A number is not exactly representable in the units it must be stored in."""


class StrategyError(TradingdError):
    """A strategy raised, or asked for something impossible."""


class StateError(TradingdError):
    """The order state machine does not allow this event in this state."""


class CapacityError(TradingdError):
    """A named limit was reached."""


class StorageError(TradingdError):
    """A file or disk refused what had to be written."""


class VenueProtocolError(TradingdError):
    """The venue sent something outside its own protocol."""


class TransportError(TradingdError):
    """The network failed before anything was sent."""


class RefusedError(TradingdError):
    """The venue refused."""


class UnknownOutcomeError(TradingdError):
    """Something was sent and its outcome is unknown."""
