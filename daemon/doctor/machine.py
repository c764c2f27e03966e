"""Looks at what tradingd runs on: versions, the Python it runs in, and the limits that the system sets."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import resource
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

from daemon.doctor.finding import Finding, ok, problem, warning
from daemon.version import VERSION
from native.loader import extension

LIBRARIES = ("anyio", "cffi", "cryptography", "httpx", "msgspec", "numpy", "polars", "pydantic", "structlog")
FILES_MIN = 1_024  # sockets of venues and clients, segments of journals
MEMORY_BYTES_MIN = 512 << 20
PYTHONS = ((3, 11), (3, 13))


API_LIBRARIES = ("fastapi", "uvicorn", "websockets", "prometheus_client")


def look_at_machine() -> list[Finding]:
    return [*_versions(), *_python(), *_limits()]


def look_at_api() -> Finding:
    """For a configuration with api.enabled: what its process needs beside the rest."""
    missing = [name for name in API_LIBRARIES if importlib.util.find_spec(name) is None]
    if missing:
        return problem("api", f"{', '.join(missing)} not installed: the HTTP API cannot start", "pip install 'tradingd[api]'")
    return ok("api", "its libraries are installed")


def _versions() -> Iterator[Finding]:
    found = [f"tradingd {VERSION}", f"Python {platform.python_version()}", f"{platform.system()} {platform.release()}"]
    for name in LIBRARIES:
        try:
            found.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            yield problem("versions", f"{name} is not installed", "pip install tradingd again")
    yield ok("versions", ", ".join(found))


def _python() -> Iterator[Finding]:
    area = "python"
    if not PYTHONS[0] <= sys.version_info[:2] <= PYTHONS[1]:
        yield problem(area, f"tradingd is not tested with {platform.python_version()}", "use 3.11, 3.12 or 3.13")
    if sys.flags.optimize:
        yield problem(area, "it runs with -O: the checks of its own state are off", "unset PYTHONOPTIMIZE, start without -O")
    if hasattr(sys, "gettotalrefcount") or sysconfig.get_config_var("Py_GIL_DISABLED"):
        yield warning(area, "a debug or free-threaded build: slower, and not what tradingd is tested with", "use a release build")
    if extension() is None:
        yield problem(area, "the C extension is not built for it", "install a C compiler, then pip install tradingd again")
    else:
        yield ok(area, f"{sys.executable}, with the C extension")
    if importlib.util.find_spec("uvloop") is None:
        yield warning(area, "uvloop is not installed: the loop is slower", "pip install uvloop")
    home = Path(sys.base_prefix).resolve()
    if os.geteuid() == 0 and any(home.is_relative_to(place) for place in ("/root", "/home")):
        yield warning(area, f"it lives in {home}, where a service with ProtectHome cannot reach it", "use one from /usr or /opt")


def _limits() -> Iterator[Finding]:
    area = "limits"
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if files != resource.RLIM_INFINITY and files < FILES_MIN:
        yield problem(area, f"{files} open files at most", f"ulimit -n {FILES_MIN}, or LimitNOFILE= in the unit")
    else:
        yield ok(area, f"{'any number of' if files == resource.RLIM_INFINITY else files} open files")
    if resource.getrlimit(resource.RLIMIT_CORE)[0] != 0:
        yield warning(area, "a crash may write a core, with every secret in it", "ulimit -c 0, or LimitCORE=0 in the unit")
    available = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    cores = len(os.sched_getaffinity(0))
    text = f"{cores} cores, {total >> 20} MiB of memory, {available >> 20} of them unused"
    if total < MEMORY_BYTES_MIN:
        yield warning(area, text, f"a daemon with its guardian wants {MEMORY_BYTES_MIN >> 20} MiB")
    else:
        yield ok(area, text)
