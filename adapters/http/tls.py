"""The certificates that servers are judged by: the system's, read once."""

from __future__ import annotations

import ssl
from functools import lru_cache


@lru_cache(maxsize=1)
def default_context() -> ssl.SSLContext:
    """Reading them takes tens of milliseconds: once, when the first is needed."""
    return ssl.create_default_context()
