"""How random tests run here: no clock decides, and a failure prints the line that repeats it."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("tradingd", deadline=None, print_blob=True)
settings.load_profile("tradingd")
