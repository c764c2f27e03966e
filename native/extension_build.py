"""Build recipe of the one C extension, native/_native: every *.c here, every *_api.h as its definition.

Run by setup.py through cffi (`cffi_modules`), or by hand: `python native/extension_build.py` rebuilds in place.
TRADINGD_SANITIZE=1 compiles with AddressSanitizer and UndefinedBehaviorSanitizer (see `make test-asan`).
"""

from __future__ import annotations

import os
from pathlib import Path

import cffi

HERE = Path(__file__).resolve().parent

# Order matters: a later header uses the types of an earlier one.
HEADERS = ("market_data_api.h", "levels_api.h", "book_api.h", "flow_api.h", "venue_api.h")

# No fused multiply-add and no fast-math: the same seed must give the same digest on another machine.
FLAGS = [
    "-std=c11",
    "-O3",
    "-ffp-contract=off",
    "-fno-math-errno",
    "-fvisibility=hidden",
    "-Wall",
    "-Wextra",
    "-Wconversion",
    "-Wno-sign-conversion",
    "-Wno-unused-parameter",
]
SANITIZE = ["-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer"]


def headers() -> list[Path]:
    return [HERE / name for name in HEADERS if (HERE / name).exists()]


def sources() -> list[str]:
    # Relative to the project's root: setuptools refuses absolute paths.
    return sorted(f"native/{path.name}" for path in HERE.glob("*.c") if not path.name.startswith("_"))


def make_builder() -> cffi.FFI:
    builder = cffi.FFI()
    for header in headers():
        builder.cdef(header.read_text(encoding="utf-8"))
    sanitize = os.environ.get("TRADINGD_SANITIZE") == "1"
    includes = "\n".join(["#include <stdint.h>", *(f'#include "{header.name}"' for header in headers())])
    builder.set_source(
        "native._native",
        includes,
        sources=sources(),
        include_dirs=["native"],
        depends=[f"native/{path.name}" for path in sorted(HERE.glob("*.h"))],
        extra_compile_args=FLAGS + (SANITIZE if sanitize else []),
        extra_link_args=["-fsanitize=address,undefined"] if sanitize else [],
    )
    return builder


if __name__ == "__main__":
    os.chdir(HERE.parent)
    make_builder().compile(verbose=True)
else:
    ffibuilder = make_builder()
