"""`tradingd api`: the HTTP API by hand, or as a service of its own, for whichever run of the account is up."""

from __future__ import annotations

import argparse
from pathlib import Path

from daemon.config.loader import load_config
from daemon.exit_codes import ExitCode


def api(options: argparse.Namespace) -> int:
    from daemon.api.settings import api_settings

    settings = api_settings(load_config(Path(options.config), options.overrides), None)
    # fastapi and uvicorn take their time: only now, when they are needed.
    from daemon.api.process import serve

    serve(settings)
    return ExitCode.OK
