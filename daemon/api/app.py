"""The endpoints: who may call each, what the daemon is asked for it, and what is said where it cannot be."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Annotated, Any
from urllib.parse import quote

import anyio
from fastapi import Depends, FastAPI, Path, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, Response
from fastapi.security import HTTPBearer
from starlette.exceptions import HTTPException

from daemon.api import models
from daemon.api.feed import Feed
from daemon.api.kill import Kill
from daemon.api.link import Link, Reply, Unanswered, Unreachable
from daemon.api.metrics import CONTENT_TYPE, ApiMetrics
from daemon.api.page import page_of
from daemon.api.settings import ApiSettings
from daemon.api.sockets import Sockets, add_sockets
from daemon.api.tokens import KILL, OPERATE, READ, TRADE, Caller
from daemon.version import VERSION

DESCRIPTION = """Trade through the daemon's risk gate, watch, and stop it. Prices, quantities and money are decimal text.

Show a token as `Authorization: Bearer TOKEN`. Scopes: `read` sees, `trade` also orders, `kill` also halts, reduces and kills,
`operate` also resumes, flattens and acts for every client. Two WebSockets: `/ws/md` and `/ws/fills/{client_id}`.
All of it: docs/API.md."""

# Of a status only these are for everybody.
STATUS_FOR_ALL = tuple(models.Status.model_fields)
_BY_API = " by the API: "

_NUMBERED = r"^\d{1,10}-\d{1,10}$"
_NAMED = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$"
OrderId = Annotated[str, Path(pattern=_NUMBERED, examples=["1-17"])]
ClientId = Annotated[str, Path(pattern=_NAMED, examples=["alice"])]
InstrumentPath = Annotated[str, Path(pattern=r"^[!-~]{1,64}$", examples=["ACME.SIM"])]


@dataclass(frozen=True, slots=True)
class Parts:
    """What the endpoints work with."""

    link: Link
    urgent: Link  # of its own: stopping does not wait behind what else is asked
    feed: Feed
    kill: Kill
    metrics: ApiMetrics
    sockets: Sockets


def make_parts(settings: ApiSettings, metrics: ApiMetrics) -> Parts:
    link, urgent = Link(settings.name, settings.socket), Link(settings.name, settings.socket)
    feed = Feed(link, min((client.interval_s for client in settings.clients), default=1.0))
    return Parts(
        link=link,
        urgent=urgent,
        feed=feed,
        kill=Kill(settings, urgent),
        metrics=metrics,
        sockets=Sockets(feed, link, metrics, settings.websockets_max),
    )


def _errors(*codes: int) -> dict[int | str, dict[str, Any]]:
    said = {
        400: "cannot be read, or does not fit the instrument's units",
        403: "the token does not allow it",
        404: "there is none",
        409: "understood and not done: `error` says why, `denial` which limit",
        422: "not what this endpoint takes",
        429: "too many requests",
    }
    always = {
        400: said[400],
        401: "no good token",
        403: said[403],
        413: "the body is too long",
        415: "the body is not application/json",
        429: said[429],
        503: "the daemon is not there, or did not answer",
    }
    wanted = {**always, **{code: said[code] for code in codes}}
    return {
        code: {"model": models.Refused if code == 409 else models.Error, "description": text}
        for code, text in sorted(wanted.items())
    }


def make_app(parts: Parts) -> FastAPI:
    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(parts.feed.run)
            yield
            tasks.cancel_scope.cancel()

    # Without the pages that load scripts from elsewhere: this one works where nothing else can be reached.
    app = FastAPI(
        title="tradingd",
        version=VERSION,
        description=DESCRIPTION,
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
        redirect_slashes=False,
    )
    _add_error_handlers(app)
    _add_trading(app, parts)
    _add_views(app, parts)
    _add_control(app, parts)
    add_sockets(app, parts.sockets)

    @app.get("/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        return HTMLResponse(page_of(app.openapi()))

    return app


_bearer = HTTPBearer(auto_error=False, description="the client's token")


def needs(scope: str) -> Callable[..., Awaitable[Caller]]:
    """The caller, where its token has this scope."""

    # Awaited although it waits for nothing: FastAPI hands every other function to a thread.
    async def check(request: Request, _shown: Annotated[Any, Depends(_bearer)] = None) -> Caller:
        caller: Caller = request.scope["state"]["caller"]
        if scope not in caller.may:
            raise HTTPException(403, f"this takes a token with the scope {scope}")
        return caller

    return check


Reader = Annotated[Caller, Depends(needs(READ))]
Trader = Annotated[Caller, Depends(needs(TRADE))]
Stopper = Annotated[Caller, Depends(needs(KILL))]
Operator = Annotated[Caller, Depends(needs(OPERATE))]


def own(caller: Caller, client_id: str) -> str:
    """`client_id`, where it is the caller's own or the caller is an operator."""
    if client_id != caller.client_id and not caller.is_operator:
        raise HTTPException(403, "this is another client's: it takes the scope operate")
    return client_id


async def answered(asked: Awaitable[Reply]) -> JSONResponse:
    """The daemon's answer as it is, or 503 with what is known of the request."""
    try:
        status, content = await asked
    except Unreachable as error:
        return _json(503, {"error": f"{error}; nothing was sent"})
    except Unanswered as error:
        return _json(
            503, {"error": f"{error}; its outcome is unknown: ask again with the same client_ref, or look at GET /orders"}
        )
    return _json(status, content)


def _json(status: int, content: dict[str, Any]) -> JSONResponse:
    return _AsciiJson(content, status_code=status)


class _AsciiJson(JSONResponse):
    def render(self, content: Any) -> bytes:
        # Whatever text somebody sent in can be written so.
        return json.dumps(content, separators=(",", ":")).encode("ascii")


def _add_error_handlers(app: FastAPI) -> None:
    @app.exception_handler(HTTPException)
    async def refused(_request: Request, error: HTTPException) -> JSONResponse:
        return _AsciiJson({"error": str(error.detail)}, status_code=error.status_code, headers=error.headers)

    @app.exception_handler(RequestValidationError)
    async def invalid(_request: Request, error: RequestValidationError) -> JSONResponse:
        # Where and what, never the value: it may be anything.
        found = [f"{'.'.join(str(part)[:64] for part in each['loc'])}: {each['msg']}" for each in error.errors()[:8]]
        return _json(422, {"error": "; ".join(found)})


def _add_trading(app: FastAPI, parts: Parts) -> None:
    link = parts.link

    @app.post("/order", responses={200: {"model": models.OrderAnswer}, **_errors(409, 422)}, tags=["trading"])
    async def order(caller: Trader, body: models.OrderRequest) -> JSONResponse:
        """Send an order through the risk gate. The answer is given once it is on the disk and has left, or was denied."""
        content = {key: value for key, value in body.model_dump().items() if value is not None}
        return await answered(link.ask("POST", "/order", {"client_id": caller.client_id, **content}))

    @app.post("/cancel/{order_id}", responses={200: {"model": models.ChangeAnswer}, **_errors(404, 409, 422)}, tags=["trading"])
    async def cancel(caller: Trader, order_id: OrderId) -> JSONResponse:
        """Ask to cancel one of your orders; with the scope operate, anybody's."""
        client_id = "" if caller.is_operator else caller.client_id
        return await answered(link.ask("POST", f"/cancel/{order_id}", {"client_id": client_id}))

    @app.post("/replace/{order_id}", responses={200: {"model": models.ChangeAnswer}, **_errors(404, 409, 422)}, tags=["trading"])
    async def replace(caller: Trader, order_id: OrderId, body: models.ReplaceRequest) -> JSONResponse:
        """Ask for another remaining quantity and price of one of your orders."""
        content = {"client_id": caller.client_id, "quantity": body.quantity, "price": body.price}
        return await answered(link.ask("POST", f"/replace/{order_id}", content))


def _add_views(app: FastAPI, parts: Parts) -> None:
    link = parts.link

    @app.get("/book/{instrument_id:path}", responses={200: {"model": models.Market}, **_errors(404, 422)}, tags=["views"])
    async def book(caller: Reader, instrument_id: InstrumentPath) -> JSONResponse:
        """The market of one of your instruments, with as many levels as you may see."""
        query = "" if caller.is_operator else f"?client_id={caller.client_id}"
        return await answered(link.ask("GET", f"/book/{quote(instrument_id, safe='')}{query}"))

    @app.get("/orders", responses={200: {"model": models.Orders}, **_errors()}, tags=["views"])
    async def orders(caller: Reader) -> JSONResponse:
        """Your open orders; with the scope operate, the account's."""
        return await answered(link.ask("GET", "/orders" if caller.is_operator else f"/orders?client_id={caller.client_id}"))

    @app.get("/fills/{client_id}", responses={200: {"model": models.Fills}, **_errors(404, 422)}, tags=["views"])
    async def fills(caller: Reader, client_id: ClientId) -> JSONResponse:
        """The client's last fills of this run, at most 1,000, oldest first."""
        return await answered(link.ask("GET", f"/fills/{own(caller, client_id)}"))

    @app.get("/positions", responses={200: {"model": models.Positions}, **_errors()}, tags=["views"])
    async def positions(caller: Reader) -> JSONResponse:
        """Your positions; with the scope operate, everybody's and the account's cash."""
        return await answered(link.ask("GET", "/positions" if caller.is_operator else f"/positions?client_id={caller.client_id}"))

    @app.get("/risk/{client_id}", responses={200: {"model": models.Risk}, **_errors(404, 422)}, tags=["views"])
    async def risk(caller: Reader, client_id: ClientId) -> JSONResponse:
        """The client's limits, what it uses of them, and its trading state."""
        return await answered(link.ask("GET", f"/risk/{own(caller, client_id)}"))

    @app.get("/status", responses={200: {"model": models.Status}, **_errors()}, tags=["views"])
    async def status(caller: Reader) -> JSONResponse:
        """Whether it runs and in which trading state; with the scope operate, everything that `tradingd status` says."""
        return await answered(_status(link, caller))

    @app.get(
        "/metrics",
        responses={200: {"content": {"text/plain": {}}, "description": "Prometheus text"}, **_errors()},
        response_class=Response,
        tags=["views"],
    )
    async def metrics(_caller: Reader) -> Response:
        """For Prometheus: numbers of the daemon and of this API; no positions, no money."""
        try:
            code, content = await link.ask("GET", "/status")
        except (Unreachable, Unanswered):
            code, content = 503, {}
        text = parts.metrics.text(content if code == 200 else None)
        return Response(text, media_type=CONTENT_TYPE)


async def _status(link: Link, caller: Caller) -> Reply:
    code, content = await link.ask("GET", "/status")
    if code != 200 or caller.is_operator:
        return code, content
    return code, {key: content[key] for key in STATUS_FOR_ALL}


def _add_control(app: FastAPI, parts: Parts) -> None:
    link = parts.link
    state = {200: {"model": models.StateAnswer}, **_errors(404, 409, 422)}

    async def act(
        path: str, caller: Caller, body: models.ReasonRequest | models.ResumeRequest | models.FlattenRequest, by: Link = link
    ) -> JSONResponse:
        content = {**body.model_dump(), "reason": f"{caller.client_id}{_BY_API}{body.reason}"}
        return await answered(by.ask("POST", path, content))

    @app.post("/halt", responses=state, tags=["control"])
    async def halt(caller: Stopper, body: models.ReasonRequest | None = None) -> JSONResponse:
        """Cancel everything; nothing new leaves until somebody resumes, over restarts too."""
        return await act("/halt", caller, body or models.ReasonRequest(), parts.urgent)

    @app.post("/reduce", responses=state, tags=["control"])
    async def reduce(caller: Stopper, body: models.ReasonRequest | None = None) -> JSONResponse:
        """Let only orders leave that shrink a position."""
        return await act("/reduce", caller, body or models.ReasonRequest(), parts.urgent)

    @app.post("/resume", responses=state, tags=["control"])
    async def resume(caller: Operator, body: models.ResumeRequest) -> JSONResponse:
        """The one way back to ACTIVE. The reason is required, and kept."""
        return await act("/resume", caller, body)

    @app.post("/flatten", responses=state, tags=["control"])
    async def flatten(caller: Operator, body: models.FlattenRequest) -> JSONResponse:
        """Cancel everything, close every position at the market, stay REDUCING. `flat`: whether all is closed by now."""
        return await act("/flatten", caller, body)

    @app.post("/kill", responses={200: {"model": models.KillAnswer}, **_errors(422)}, tags=["control"])
    async def kill(caller: Stopper, body: models.KillRequest | None = None) -> JSONResponse:
        """Stop everything, also while the daemon hangs: sets the kill latch, then tells the guardian and the daemon."""
        wanted = body or models.KillRequest()
        if wanted.flatten and not caller.is_operator:
            raise HTTPException(403, f"flatten takes a token with the scope {OPERATE}")
        found = await parts.kill.now(f"{caller.client_id}{_BY_API}{wanted.reason}", flatten=wanted.flatten)
        if not (found["latched"] or found["guardian"] or found["daemon"]):
            return _json(503, {"error": "neither the latch, the guardian nor the daemon could be reached", **found})
        return _json(200, found)
