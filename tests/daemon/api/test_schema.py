"""Requests made from the API's own OpenAPI document, good and bad: every answer is one that the document names, none is a 5xx."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import Case, GenerationMode

from daemon.api.app import make_app, make_parts
from daemon.api.metrics import ApiMetrics
from daemon.replay import replay
from tests.daemon.api.live import TOKENS, LiveApi, live_api
from tests.daemon.api.test_server import settings_of

# What ends a message is read before any endpoint is: the HTTP server refuses what is wrong there, in its own words.
FRAMING = frozenset({"connection", "content-length", "expect", "host", "transfer-encoding", "upgrade"})
EXAMPLES_MAX = 20  # of each endpoint, each token, and good or bad requests


def document() -> dict[str, object]:
    return make_app(make_parts(settings_of(1), ApiMetrics())).openapi()


SCHEMA = schemathesis.openapi.from_dict(document())
OPERATIONS = [(method.upper(), path) for path, methods in SCHEMA.raw_schema["paths"].items() for method in methods]


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveApi]:
    folder = tmp_path_factory.mktemp("schema")
    with live_api(folder, idle=False) as made:
        yield made
        assert made.session.failure is None
    assert replay(folder / "state" / "session" / "runs" / "000001", None).is_identical


@pytest.mark.parametrize("mode", GenerationMode, ids=lambda mode: mode.value)
@pytest.mark.parametrize("name", ["alice", "desk"])
@pytest.mark.parametrize(("method", "path"), OPERATIONS, ids=[f"{method} {path}" for method, path in OPERATIONS])
def test_every_answer_is_one_that_the_document_names(
    live: LiveApi, method: str, path: str, name: str, mode: GenerationMode
) -> None:
    operation = SCHEMA[path][method]

    @settings(max_examples=EXAMPLES_MAX, deadline=None, suppress_health_check=list(HealthCheck))
    @given(case=operation.as_strategy(generation_mode=mode))
    def ask(case: Case) -> None:
        # The tool's client takes "%" and two digits of a path for quoted already: quoted here, it sends what was drawn.
        for key, value in (case.path_parameters or {}).items():
            case.path_parameters[key] = str(value).replace("%", "%25")
        for header in [each for each in case.headers or () if each.lower() in FRAMING]:
            del case.headers[header]
        case.call_and_validate(base_url=live.url, headers={"Authorization": f"Bearer {TOKENS[name]}"})

    ask()
