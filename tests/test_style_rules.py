"""The rules of how this code reads that matter enough to fail: sizes, names, exact prices, honest excepts, no clock in tests."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("core", "native", "strategies", "sim", "adapters", "daemon", "research")
FILE_LINES_MAX = 600
FUNCTION_LINES_MAX = 70
TEXT_SUFFIXES = {
    ".py",
    ".c",
    ".h",
    ".md",
    ".toml",
    ".txt",
    ".cfg",
    ".ini",
    ".json",
    ".yml",
    ".yaml",
    ".sh",
    ".service",
    ".socket",
    "",
}
NOT_OURS = {
    "_native.c",
    ".git",
    ".venv",
    "build",
    "dist",
    "__pycache__",
    ".mypy_cache",
    ".ruff_cache",
    ".hypothesis",
    "runs",
    "node_modules",
}


@cache
def files(*folders: str) -> tuple[Path, ...]:
    """Every text file of the project below `folders`; of the whole project without any."""
    found = []
    for top in [ROOT / folder for folder in folders] if folders else [ROOT]:
        for path in sorted(top.rglob("*")):
            parts = path.relative_to(ROOT).parts
            if (
                path.is_file()
                and path.suffix in TEXT_SUFFIXES
                and not any(p in NOT_OURS or p.startswith(".venv-") or p.endswith(".egg-info") for p in parts)
            ):
                found.append(path)
    return tuple(found)


@cache
def text_of(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace")


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(text_of(path), filename=str(path))


def sources(*folders: str) -> Iterator[Path]:
    return (path for path in files(*folders) if path.suffix == ".py")


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def at(path: Path, node: ast.AST) -> str:
    return f"{name_of(path)}:{getattr(node, 'lineno', 0)}"


def calls(path: Path) -> Iterator[tuple[ast.Call, str]]:
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Call):
            yield node, ast.unparse(node.func)


# Sizes and names.


def test_no_file_is_longer_than_one_can_hold_in_mind() -> None:
    code = [path for path in files(*PACKAGES, "tests") if path.suffix in (".py", ".c", ".h")]
    long = {name_of(path): lines for path in code if (lines := text_of(path).count("\n")) > FILE_LINES_MAX}
    # Longer than they should be; they may shrink and leave this list, and nothing may join it.
    known = {"tests/sim/oracle_venue.py": 757}
    assert {name: lines for name, lines in long.items() if lines > known.get(name, FILE_LINES_MAX)} == {}


def test_no_function_is_longer_than_a_screen() -> None:
    long = {
        f"{at(path, node)} {node.name}": lines
        for path in sources(*PACKAGES, "tests")
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (lines := (node.end_lineno or 0) - node.lineno + 1) > FUNCTION_LINES_MAX
    }
    known = {"match": "tests/bench/plain_book.py"}  # one loop, as plain as can be: it is what the native book is measured against
    assert {key for key in long if known.get(key.split()[-1]) != key.partition(":")[0]} == set()


def test_each_file_says_its_one_job_in_its_first_line() -> None:
    silent = []
    for path in files(*PACKAGES, "tests"):
        text = text_of(path)
        if path.suffix == ".py" and text.strip():
            first = text.partition("\n")[0]
            if not (first.startswith('"""') and len(first) > 20):
                silent.append(name_of(path))
        elif path.suffix in (".c", ".h") and not text.startswith("/*"):
            silent.append(name_of(path))
    assert silent == []


def test_no_file_or_class_has_a_name_that_means_anything() -> None:
    empty_names = {"util", "utils", "common", "helper", "helpers", "misc", "manager", "managers", "base", "tools", "stuff", "lib"}
    vague_files = [name_of(path) for path in files(*PACKAGES, "tests") if path.stem.lower() in empty_names]
    vague_classes = [
        f"{at(path, node)} {node.name}"
        for path in sources(*PACKAGES)
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.ClassDef) and re.search(r"(Manager|Helper|Utils?|Impl)$", node.name)
    ]
    assert (vague_files, vague_classes) == ([], [])


def test_nothing_is_left_for_later() -> None:
    # The words are put together here so that this file does not contain them.
    later = re.compile(r"\b(" + "|".join(("TO" + "DO", "FIX" + "ME", "XX" + "X", "HA" + "CK")) + r")\b")
    found = [
        f"{name_of(path)}:{number}"
        for path in files(*PACKAGES, "tests")
        for number, line in enumerate(text_of(path).splitlines(), 1)
        if later.search(line)
    ]
    # A step that subclasses fill in says in its docstring what it must return, and holds nothing but the raise.
    stubs = [
        at(path, node)
        for path in sources(*PACKAGES)
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and "NotImplementedError" in ast.unparse(node)
        and not (len(node.body) == 2 and ast.get_docstring(node))
    ]
    assert (found, stubs) == ([], [])


def test_no_file_names_a_package_registry_or_a_place_on_one_machine() -> None:
    hosts = ["py" + "pi.org", "python" + "hosted.org", "npm" + "js.com", "npm" + "js.org", "crates" + ".io", "ana" + "conda.org"]
    places = ["/wo" + "rk/", "/ro" + "ot/", "/ho" + "me/"]
    found = [
        f"{name_of(path)} names {word}"
        for path in files()
        for word in (*hosts, *places)
        if word in text_of(path) and path.suffix != ".json"
    ]
    assert found == []


# Numbers.

EXACT = re.compile(r"(^|_)(price|prices|qty|quantity|notional|cash)($|_)")
# Where a price or quantity becomes a float on purpose, for a signal, a report or a picture: the door is named.
FLOAT_DOORS = {"to_float", "average_price", "__repr__"}


def exact_names(node: ast.AST) -> set[str]:
    names = {part.id for part in ast.walk(node) if isinstance(part, ast.Name)}
    names |= {part.attr for part in ast.walk(node) if isinstance(part, ast.Attribute)}
    return {name for name in names if EXACT.search(name)}


def outside_doors(tree: ast.AST) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(tree):
        if isinstance(child, ast.FunctionDef) and child.name in FLOAT_DOORS:
            continue
        yield child
        yield from outside_doors(child)


def inexact(tree: ast.AST) -> Iterator[ast.AST]:
    for node in outside_doors(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("float", "round", "Decimal", "decimal.Decimal"):
            if any(exact_names(argument) for argument in node.args):
                yield node
        elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div) and (exact_names(node.left) | exact_names(node.right)):
            yield node


@pytest.mark.parametrize("folder", ["core", "adapters"])
def test_prices_and_quantities_are_never_floats(folder: str) -> None:
    assert [f"{at(path, node)} {ast.unparse(node)}" for path in sources(folder) for node in inexact(tree_of(path))] == []


@pytest.mark.parametrize(
    "code", ["float(wire.price)", "round(qty, 2)", "Decimal(bid_price)", "price * qty / 2", "x = a.notional() / n"]
)
def test_the_search_for_inexact_prices_finds_them(code: str) -> None:
    assert list(inexact(ast.parse(code)))


def test_no_set_is_walked_in_logic() -> None:
    """Its order changes with the hash seed: two runs would not be the same."""
    walked = [
        at(path, loop)
        for path in sources("core", "strategies", "sim")
        for loop in ast.walk(tree_of(path))
        if isinstance(loop, ast.For | ast.comprehension)
        and (
            isinstance(loop.iter, ast.Set | ast.SetComp)
            or (isinstance(loop.iter, ast.Call) and ast.unparse(loop.iter.func) in ("set", "frozenset"))
        )
    ]
    assert walked == []


def test_no_wall_clock_and_no_unseeded_chance_in_logic() -> None:
    clock = r"time\.(time|time_ns)|datetime\.(datetime\.)?(now|utcnow|today)"
    chance = r"uuid\.uuid\w+|uuid4|random\.\w+|np\.random\.(?!Generator|default_rng)\w+"
    forbidden = re.compile(rf"^({clock}|{chance})$")
    seeded = {"random.Random"}
    found = [
        f"{at(path, node)} {called}"
        for path in sources("core", "strategies", "sim", "native")
        for node, called in calls(path)
        if forbidden.match(called) and called not in seeded
    ]
    assert found == []


# Failures and waiting.


def test_no_exception_is_swallowed_whole() -> None:
    """`except Exception` must raise again: what it may hide is not known."""
    broad = [
        at(path, handler)
        for path in sources(*PACKAGES)
        for handler in ast.walk(tree_of(path))
        if isinstance(handler, ast.ExceptHandler)
        and (handler.type is None or ast.unparse(handler.type) in ("Exception", "BaseException"))
        and not any(isinstance(node, ast.Raise) for node in ast.walk(handler))
    ]
    assert broad == []


def test_a_check_that_is_switched_off_says_why() -> None:
    mark = re.compile(r"#\s*(type:\s*ignore|no" + r"qa)[^#]*?(?P<reason>(#| - ).*)?$")
    unexplained = [
        f"{name_of(path)}:{number}"
        for path in sources(*PACKAGES)
        for number, line in enumerate(text_of(path).splitlines(), 1)
        if (found := mark.search(line)) and not found["reason"]
    ]
    assert unexplained == []


def test_nobody_sleeps_to_wait_for_something() -> None:
    sleeping = [
        at(path, node)
        for path in sources(*PACKAGES, "tests")
        for node, called in calls(path)
        if called in ("time.sleep", "sleep")
    ]
    # A benchmark looks at what it measures again and again, at a pace.
    assert [place for place in sleeping if not place.startswith("tests/bench/")] == []


def test_tests_mirror_the_folders() -> None:
    stray = [
        name_of(path)
        for path in sources("tests")
        if path.stem.startswith("test_")
        and len(path.relative_to(ROOT).parts) > 2
        and path.relative_to(ROOT).parts[1] not in (*PACKAGES, "systemd")
    ]
    assert [name for name in stray if not name.startswith("tests/bench/")] == []
