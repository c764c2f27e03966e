"""The documents name every key, exit code, verb and result that there is, with the words of the code."""

from __future__ import annotations

import re

import pytest
from pydantic import BaseModel

from daemon.cli.main import FUNCTIONS, build_parser, main
from daemon.config import models
from daemon.config.suggest import key_of
from daemon.exit_codes import ExitCode
from daemon.version import VERSION
from tests.daemon.session import ROOT

CLI = (ROOT / "docs" / "CLI.md").read_text(encoding="utf-8")
CONFIG = (ROOT / "docs" / "CONFIG.md").read_text(encoding="utf-8")
SECTIONS = [
    found
    for found in vars(models).values()
    if isinstance(found, type)
    and issubclass(found, models.Section)
    and found not in (models.Section, models.RunConfig, models.Table)
]


@pytest.mark.parametrize("section", SECTIONS, ids=lambda section: section.__name__)
def test_every_key_is_in_the_document_with_its_description(section: type[BaseModel]) -> None:
    lines = CONFIG.splitlines()
    for name, field in section.model_fields.items():
        assert field.description, f"{section.__name__}.{name} has no description"
        beginning = f"| {key_of(name, field)} | "
        assert any(line.startswith(beginning) and field.description in line for line in lines), (section.__name__, name)


def test_every_exit_code_is_in_the_document() -> None:
    found = {int(code): name for code, name in re.findall(r"^\| (\d+) \| ([A-Z_]+) \| ", CLI, re.MULTILINE)}
    assert found == {int(code): code.name for code in ExitCode}


def test_every_verb_is_in_the_document(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        build_parser().parse_args(["--help"])
    verbs = set(re.findall(r"^    ([a-z][a-z-]*)(?: |$)", capsys.readouterr().out, re.MULTILINE))
    assert verbs == {name.partition(" ")[0] for name in FUNCTIONS}
    assert verbs == set(re.findall(r"^\| `([a-z][a-z-]*)", CLI, re.MULTILINE))


def test_the_version_is_that_of_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    assert f'version = "{VERSION}"' in (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert main(["version"]) == 0
    assert capsys.readouterr().out.startswith(f"tradingd {VERSION} (Python 3.")


def test_help_imports_nothing_heavy() -> None:
    import subprocess
    import sys

    code = (
        "import sys, contextlib, io; from daemon.cli.main import main\n"
        "with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit): main(['--help'])\n"
        "print(sorted(sys.modules.keys() & {'numpy', 'polars', 'pydantic', 'msgspec', 'anyio', 'rich', 'structlog'}))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
