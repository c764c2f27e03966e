"""The C extension where it was built, and one warning line where it was not."""

from __future__ import annotations

import importlib
import logging
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from native.book import NativeBook
    from native.reference_book import ReferenceBook

log = logging.getLogger("native")


@cache
def extension() -> Any | None:
    """The module native._native (attributes `lib` and `ffi`), or None; the reason is logged once."""
    try:
        return importlib.import_module("native._native")
    except ImportError as reason:
        log.warning("native extension unavailable, using the slow ReferenceBook instead of the C book: %s", reason)
        return None


def make_book(**config: int) -> NativeBook | ReferenceBook:
    """A NativeBook, or a ReferenceBook with the same behaviour where the extension is missing. Keywords as in NativeBook."""
    if extension() is None:
        from native.reference_book import ReferenceBook

        return ReferenceBook(**config)
    from native.book import NativeBook

    return NativeBook(**config)
