"""Who may import whom (docs/ARCHITECTURE.md): every import of every module is read, and one outside the table fails."""

from __future__ import annotations

import ast
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

# Folder: the top-level packages of this project that it may import.
TABLE: dict[str, set[str]] = {
    "core": {"core"},
    "native": {"native", "core"},
    "strategies": {"strategies", "core"},
    "sim": {"sim", "core", "native"},
    "adapters": {"adapters", "core", "native"},
    "daemon": {"daemon", "core", "native", "strategies", "sim", "adapters"},
    "research": {"research", "core", "native", "strategies", "sim"},
}
PACKAGES = set(TABLE)

# core is pure: only what has no clock, randomness, file, network, thread or log in it.
CORE_MAY_IMPORT = {
    "__future__",
    "abc",
    "bisect",
    "collections",
    "dataclasses",
    "enum",
    "fractions",
    "functools",
    "hashlib",
    "heapq",
    "itertools",
    "math",
    "msgspec",
    "operator",
    "re",
    "types",
    "typing",
}
# A strategy has no clock, no randomness of its own making and no I/O.
STRATEGIES_MAY_NOT_IMPORT = {
    "anyio",
    "asyncio",
    "datetime",
    "io",
    "logging",
    "multiprocessing",
    "os",
    "pathlib",
    "random",
    "secrets",
    "socket",
    "structlog",
    "subprocess",
    "threading",
    "time",
    "uuid",
}
# In adapters/VENUE only io.py touches the network; wire and session are bytes in, events out.
NETWORK = {
    "aiohttp",
    "anyio",
    "asyncio",
    "http",
    "httpx",
    "requests",
    "select",
    "socket",
    "ssl",
    "trio",
    "urllib",
    "websockets",
}
# What all venues share has names of its own.
SHARED_IO = {
    *(f"adapters/http/{name}.py" for name in ("line_stream", "strict_http1", "tls", "wire")),
    "adapters/websocket/dialogue.py",
    "adapters/websocket/link.py",
}
# `tradingd --help` must answer at once: nothing that its start reaches may load these.
HEAVY = {
    "alpaca",
    "ccxt",
    "ib_async",
    "ib_insync",
    "matplotlib",
    "oandapyV20",
    "pandas",
    "polars",
    "pyarrow",
    "ray",
    "scipy",
    "sklearn",
    "stable_baselines3",
    "torch",
    "transformers",
    "yfinance",
}


def modules(*packages: str) -> list[Path]:
    return sorted(path for package in packages for path in (ROOT / package).rglob("*.py"))


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def where(path: Path, node: ast.AST) -> str:
    return f"{path.relative_to(ROOT).as_posix()}:{getattr(node, 'lineno', 0)}"


def names_of(node: ast.Import | ast.ImportFrom) -> list[str]:
    """The modules an import statement loads; `from a import b` may mean the module a.b."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    return [node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)]


def imports(path: Path) -> Iterator[tuple[ast.Import | ast.ImportFrom, str]]:
    """Each import anywhere in a file, with the top-level package it names."""
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            for name in names_of(node):
                yield node, name.partition(".")[0]


def imports_on_load(body: list[ast.stmt]) -> Iterator[ast.Import | ast.ImportFrom]:
    """The imports that run when the module is loaded: not inside a function, not for the type checker only."""
    for node in body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            yield from imports_on_load(node.orelse)
        elif not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            for field in ("body", "orelse", "finalbody"):
                yield from imports_on_load(getattr(node, field, []))
            for handler in getattr(node, "handlers", []):
                yield from imports_on_load(handler.body)


def test_every_package_of_the_table_exists() -> None:
    assert {package for package in PACKAGES if (ROOT / package / "__init__.py").exists()} == PACKAGES


@pytest.mark.parametrize("package", sorted(TABLE))
def test_a_package_imports_only_what_the_table_allows(package: str) -> None:
    broken = [
        f"{where(path, node)} imports {top}"
        for path in modules(package)
        for node, top in imports(path)
        if top in PACKAGES | {"tests"} and top not in TABLE[package]
    ]
    assert broken == []


def test_packages_are_imported_by_their_bare_names() -> None:
    relative = [
        where(path, node)
        for path in modules(*PACKAGES)
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.ImportFrom) and node.level
    ]
    assert relative == []


def test_nothing_is_imported_behind_the_tables_back() -> None:
    """A module named in a string is not seen by these tests: only these files may name one, each for its own reason."""
    allowed = {
        "adapters/ib/library.py",  # one of two libraries, whichever is installed
        "native/loader.py",  # the extension may not have been built
        "strategies/catalog.py",  # a user's own module:Class
    }
    hidden = {
        path.relative_to(ROOT).as_posix()
        for path in modules(*PACKAGES)
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Call)
        and ast.unparse(node.func) in ("__import__", "importlib.import_module", "import_module")
        and path.relative_to(ROOT).parts[0] not in ("daemon", "research")
    }
    assert hidden <= allowed


def test_core_is_pure() -> None:
    impure = [
        f"{where(path, node)} imports {top}"
        for path in modules("core")
        for node, top in imports(path)
        if top not in CORE_MAY_IMPORT | {"core"}
    ]
    assert impure == []
    forbidden = {"open", "print", "input", "exec", "eval", "id", "hash", "compile"}
    calls = [
        f"{where(path, node)} calls {ast.unparse(node.func)}"
        for path in modules("core")
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Call) and ast.unparse(node.func) in forbidden
    ]
    assert calls == []


def test_core_never_waits() -> None:
    waits = [
        where(path, node)
        for path in modules("core", "strategies")
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Await | ast.AsyncFor | ast.AsyncWith)
        # What only says what an adapter can do waits for nothing: a docstring and no more.
        or (isinstance(node, ast.AsyncFunctionDef) and not all(isinstance(line, ast.Expr) for line in node.body))
    ]
    assert waits == []


def test_strategies_have_no_clock_no_chance_and_no_io() -> None:
    broken = [
        f"{where(path, node)} imports {top}"
        for path in modules("strategies")
        for node, top in imports(path)
        if top in STRATEGIES_MAY_NOT_IMPORT
    ]
    assert broken == []


def test_only_io_touches_the_network_in_an_adapter() -> None:
    broken = [
        f"{where(path, node)} imports {top}"
        for path in modules("adapters")
        for node, top in imports(path)
        if top in NETWORK and path.name != "io.py" and path.relative_to(ROOT).as_posix() not in SHARED_IO
    ]
    assert broken == []


def loaded_with(module: str) -> dict[str, str]:
    """Every module that loading `module` loads, by way of this project's files: name, and the place of the import."""
    found: dict[str, str] = {module: "the start"}
    frontier = [module]
    while frontier:
        name = frontier.pop()
        path = ROOT / (name.replace(".", "/") + ".py")
        path = path if path.exists() else ROOT / name.replace(".", "/") / "__init__.py"
        if not path.exists():
            continue
        for node in imports_on_load(tree_of(path).body):
            for loaded in names_of(node):
                if loaded not in found:
                    found[loaded] = where(path, node)
                    frontier.append(loaded)
    return found


def test_help_loads_nothing_heavy() -> None:
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["scripts"]
    start = scripts["tradingd"].partition(":")[0]
    if not (ROOT / (start.replace(".", "/") + ".py")).exists():
        pytest.skip(f"the console script's module {start} is not in this checkout")
    loaded = loaded_with(start)
    heavy = {name: place for name, place in loaded.items() if name.partition(".")[0] in HEAVY}
    assert heavy == {}


def test_heavy_libraries_are_imported_where_they_are_needed_not_at_the_top_of_the_daemon() -> None:
    broken = [
        f"{where(path, node)} imports {name}"
        for path in modules("core", "native", "daemon", "strategies")
        for node in imports_on_load(tree_of(path).body)
        for name in names_of(node)
        if name.partition(".")[0] in HEAVY - {"polars"}
    ]
    assert broken == []


def test_a_daemon_starts_without_the_library_that_writes_tables() -> None:
    """It takes a fifth of a start, and a daemon that trades by the clock writes none."""
    assert {name: place for name, place in loaded_with("daemon.cli.trading").items() if name.partition(".")[0] == "polars"} == {}


def mode_checks(tree: ast.Module) -> Iterator[ast.AST]:
    """Decisions that look at the mode: `if live`, `x if self.is_paper else y`, `mode == "live"`, `case Mode.LIVE`."""
    flags = {"live", "paper", "is_live", "is_paper", "is_backtest", "backtesting", "is_backtesting"}
    words = {"live", "paper", "backtest"}

    def word(node: ast.AST) -> str:
        if isinstance(node, ast.Constant):
            return node.value if isinstance(node.value, str) else ""
        if isinstance(node, ast.Attribute) and node.attr.lower() in words and node.attr.isupper():
            # Mode.LIVE, but not SyncState.LIVE.
            return node.attr.lower() if "mode" in ast.unparse(node.value).lower() else ""
        return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""

    for node in ast.walk(tree):
        if isinstance(node, ast.If | ast.IfExp | ast.While | ast.Assert):
            tests = [part for part in ast.walk(node.test) if isinstance(part, ast.Name | ast.Attribute)]
            if any(word(part) in flags for part in tests):
                yield node
        if isinstance(node, ast.Compare) and any(
            word(part) in words for side in (node.left, *node.comparators) for part in (side, *getattr(side, "elts", []))
        ):
            yield node
        if isinstance(node, ast.Match) and "mode" in ast.unparse(node.subject).lower():
            # A command line's verbs are matched too, and are no mode.
            values = [part for case in node.cases for part in ast.walk(case.pattern) if isinstance(part, ast.MatchValue)]
            if any(word(part.value) in words for part in values):
                yield node


def test_the_mode_is_asked_for_in_wiring_only() -> None:
    asked = {
        where(path, node)
        for path in modules(*PACKAGES)
        if path.relative_to(ROOT).as_posix() != "daemon/wiring.py"
        for node in mode_checks(tree_of(path))
    }
    assert asked == set()


@pytest.mark.parametrize(
    "code",
    [
        "if live: pass",
        "x = 1 if self.is_paper else 2",
        "mode == 'live'",
        "config.mode in ('paper', 'live')",
        "while not is_backtest: pass",
        "match mode:\n    case Mode.LIVE: pass",
        "match config.mode:\n    case 'paper' | 'live': pass",
        "assert config.live",
    ],
)
def test_the_search_for_mode_checks_finds_them(code: str) -> None:
    assert list(mode_checks(ast.parse(code)))


def test_the_search_for_loads_sees_through_if_and_try() -> None:
    code = """
import a
try:
    import b
except ImportError:
    import c
if TYPE_CHECKING:
    import never
def later():
    import never
"""
    assert [name for node in imports_on_load(ast.parse(code).body) for name in names_of(node)] == ["a", "b", "c"]


def test_the_running_interpreter_is_one_of_those_promised() -> None:
    assert (3, 11) <= sys.version_info[:2] <= (3, 13)
