"""Every verb that the parser knows has its function, and the other way round."""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Iterator

import pytest

from daemon.cli.main import FUNCTIONS, build_parser


def verbs(parser: argparse.ArgumentParser, prefix: str = "") -> Iterator[str]:
    groups = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    groups = [group for group in groups if group.dest in ("verb", "action")]
    for group in groups:
        for name, below in group.choices.items():
            yield from verbs(below, f"{prefix}{name} ")
    if not groups:
        yield prefix.strip()


def test_parser_and_functions_name_the_same_verbs() -> None:
    assert sorted(verbs(build_parser())) == sorted(FUNCTIONS)


@pytest.mark.parametrize("place", sorted(set(FUNCTIONS.values())))
def test_the_function_is_there(place: str) -> None:
    module, function = place.split(":")
    assert callable(getattr(importlib.import_module(f"daemon.cli.{module}"), function))
