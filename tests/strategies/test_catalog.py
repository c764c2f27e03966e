"""Strategies found by name, and what is said about those that cannot be found or cannot work."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from core.context import StrategyContext
from core.errors import ConfigError, StrategyError
from strategies.catalog import CALLBACKS, STRATEGIES, load_strategy
from strategies.symmetric_maker import SymmetricMaker


@pytest.mark.parametrize("name", STRATEGIES)
def test_every_name_loads(name: str) -> None:
    found = load_strategy(name)
    assert f"{found.__module__}:{found.__name__}" == STRATEGIES[name]
    source = sys.modules[found.__module__].__file__
    assert source is not None
    assert len(Path(source).read_text(encoding="utf-8").splitlines()) <= 150


def test_module_and_class() -> None:
    assert load_strategy("strategies.symmetric_maker:SymmetricMaker") is SymmetricMaker


def test_the_callbacks_are_those_that_the_trader_calls() -> None:
    assert sorted(CALLBACKS) == sorted(name for name in StrategyContext.__slots__ if name.startswith("on_"))


def test_the_catalog_imports_no_strategy() -> None:
    code = "import sys, strategies.catalog; print(sorted(m for m in sys.modules if m.startswith('strategies.')))"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "['strategies.catalog']"


GOOD = """
from pydantic import BaseModel
class Good:
    class Params(BaseModel):
        pass
    def __init__(self, params, instruments): pass
    def subscriptions(self): return []
    def on_quote(self, context, quote): pass
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path / "my_strategy.py"


@pytest.fixture(autouse=True)
def forget_module() -> None:
    sys.modules.pop("my_strategy", None)


def test_the_users_own_module(module: Path) -> None:
    module.write_text(GOOD)
    assert load_strategy("my_strategy:Good").__name__ == "Good"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "symetric_maker",
            "there is no strategy 'symetric_maker'; did you mean 'symmetric_maker'?; known: adaptive_spread_maker, ",
        ),
        ("momentum", "there is no strategy 'momentum'; did you mean 'zscore_momentum'?"),
        ("absent_module:Maker", "there is no module 'absent_module'; is its folder on PYTHONPATH, or the package installed?"),
        ("strategies.symmetric_maker:SymetricMaker", "has no class 'SymetricMaker'; did you mean 'SymmetricMaker'?"),
        ("strategies.symmetric_maker:", "there is no strategy 'strategies.symmetric_maker:'"),
    ],
)
def test_names_that_lead_nowhere(name: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_strategy(name)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("on_quote", "on_qoute", "has a method 'on_qoute', which nothing calls; did you mean 'on_quote'?"),
        ("on_quote", "onQuote", "has a method 'onQuote', which nothing calls; did you mean 'on_quote'?"),
        ("context, quote", "quote", "on_quote is called with 2 arguments, but reads (self, quote)"),
        ("class Params(BaseModel)", "class Parameters(BaseModel)", "needs a class Params(pydantic.BaseModel) inside it"),
        ("Params(BaseModel)", "Params", "needs a class Params(pydantic.BaseModel) inside it"),
        ("class Params(BaseModel):\n        pass", "Params = BaseModel", "needs a class Params(pydantic.BaseModel) inside it"),
        ("def subscriptions", "def subscription", "needs a method subscriptions(self)"),
        ("from pydantic", "import not_there\nfrom pydantic", "imports 'not_there', which is not installed"),
        ("def on_quote", "def on quote", "module 'my_strategy' cannot be imported: "),
    ],
)
def test_strategies_that_cannot_work(module: Path, old: str, new: str, message: str) -> None:
    assert old in GOOD
    module.write_text(GOOD.replace(old, new))
    with pytest.raises(StrategyError) as caught:
        load_strategy("my_strategy:Good")
    assert message in str(caught.value)
