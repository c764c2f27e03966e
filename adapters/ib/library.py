"""Which library speaks the protocol: ib_async, or its archived predecessor ib_insync; the only file that names either.

It is the codec and the socket, no more: its `Client` connects and builds requests, its `Decoder` takes messages apart. Its
`Wrapper` and `IB`, which keep orders, positions and fills of their own, are not used: they take an error for a cancel, drop what
they cannot read, and know no order whose outcome is unknown.
"""

from __future__ import annotations

import importlib
import importlib.util
import logging
from typing import Any

from core.errors import ConfigError

_FOUND = [name for name in ("ib_async", "ib_insync") if importlib.util.find_spec(name) is not None]
if len(_FOUND) > 1:
    raise ConfigError(
        "adapter: ib_async and ib_insync are both installed and overwrite each other's eventkit: uninstall ib_insync"
    )
# Where neither is there, this import says which one is wanted.
NAME = _FOUND[0] if _FOUND else "ib_async"
_LIBRARY = importlib.import_module(NAME)

# It logs each message that it sends and each error that it is told; what matters of that is said by the adapter.
logging.getLogger(NAME).addHandler(logging.NullHandler())
logging.getLogger(NAME).propagate = False

Client: Any = importlib.import_module(f"{NAME}.client").Client
Decoder: Any = importlib.import_module(f"{NAME}.decoder").Decoder
Contract: Any = _LIBRARY.Contract
ContractDetails: Any = _LIBRARY.ContractDetails
Order: Any = _LIBRARY.Order
ExecutionFilter: Any = _LIBRARY.ExecutionFilter
