"""JSON calls over HTTP, and the page that uses them; described by ``/openapi.json``."""

import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from contextlib import asynccontextmanager
from threading import Thread
from typing import Annotated, Any

import anyio.to_thread
from fastapi import FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, Response
from pydantic import BaseModel, ConfigDict, Field
from starlette.middleware.trustedhost import TrustedHostMiddleware

from recbole_missrec.errors import UsageError
from recbole_missrec.serving.demo_page import render_demo
from recbole_missrec.serving.shelf import Shelf

MOST_BYTES = 2**16  # of a body
LONGEST = 1000  # items of a history
MOST = 100  # items of a list
LOOPBACK = ["127.0.0.1", "localhost", "[::1]"]

Token = Annotated[str, Field(min_length=1, max_length=256)]
Text = Annotated[str, Query(max_length=256)]
Count = Annotated[int, Query(ge=1, le=MOST)]


class Asked(BaseModel):
    """A history that is asked about."""

    model_config = ConfigDict(extra="forbid", strict=True)
    model: Token = Field(description="name of a model, see /api/models")
    history: list[Token] = Field(max_length=LONGEST, description="raw tokens, oldest first")


class AskedToRecommend(Asked):
    """What `recommend` takes."""

    topk: int = Field(10, ge=1, le=MOST)
    exclude_history: bool = False
    explain: bool = Field(False, description="say why, too, which takes three times as long")


class AskedToExplain(Asked):
    """What `explain` takes."""

    item: Token


class Named(BaseModel):
    """An item."""

    item: str
    title: str
    picture: bool


class Similar(Named):
    """An item like another."""

    cosine: float


class Part(BaseModel):
    """Of a score: a modality, `id`, or what is added: to items of the `history`, to those
    `lacking` a modality, to `unseen` items, to items of which there is `nothing known`."""

    part: str
    weight: float | None = None
    cosine: float | None = None
    contribution: float


class Recommended(Named):
    """A recommended item."""

    score: float
    parts: list[Part] = []


class Attended(BaseModel):
    """An item of the history, and its share of the attention."""

    item: str
    attention: float


class Interest(BaseModel):
    """An interest that the history touches, and by which of its items."""

    interest: int
    attention: float
    typical: list[Named]
    touched_by: list[str]


class Reading(BaseModel):
    """Where the model looked; empty where it does not say."""

    history: list[Attended]
    interests: list[Interest]


class Recommendations(Reading):
    """Best first; `fallback` is `popularity` where nothing is known of the history."""

    items: list[Recommended]
    unknown: int
    fallback: str | None


class Explanation(Reading):
    """Why an item has its score."""

    item: str
    score: float
    parts: list[Part]


class About(BaseModel):
    """A model."""

    name: str
    model: str
    dataset: str
    items: int
    explains: bool


class Refusal(BaseModel):
    """Why a call is refused."""

    detail: str


REFUSALS: dict[int | str, dict[str, Any]] = {404: {"model": Refusal}, 413: {"model": Refusal}}


def make_app(shelf: Shelf, hosts: list[str] = LOOPBACK) -> FastAPI:
    """The service of some models.

    Args:
        shelf: of the models.
        hosts: names that it may be called by, so that no page of another site reads from it.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        # as many requests compute at once as there are processors; the others wait
        anyio.to_thread.current_default_thread_limiter().total_tokens = os.cpu_count() or 1
        watching = Thread(target=shelf.watch, daemon=True)
        watching.start()
        yield
        shelf.end()

    app = FastAPI(
        title="recbole-missrec",
        description="Recommendations of trained models, from raw tokens to raw tokens.",
        docs_url=None,  # these pages load scripts of others
        redoc_url=None,
        lifespan=lifespan,
        responses=REFUSALS,
    )
    app.add_middleware(BodyLimit)
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=hosts)

    @app.exception_handler(UsageError)
    async def refuse(request: Request, error: UsageError) -> JSONResponse:
        return JSONResponse({"detail": str(error)}, 404)

    @app.exception_handler(RequestValidationError)
    async def refuse_values(request: Request, error: RequestValidationError) -> Response:
        # without the values: JSON in UTF-8 has no NaN and no half of a surrogate pair
        told = [{key: wrong[key] for key in ("type", "loc", "msg")} for wrong in error.errors()]
        return Response(json.dumps({"detail": told}), 422, media_type="application/json")

    @app.get("/", response_class=HTMLResponse, include_in_schema=False)
    def page() -> HTMLResponse:
        return HTMLResponse(render_demo(shelf.names))

    @app.get("/favicon.ico", status_code=204, include_in_schema=False)
    def icon() -> None:
        """None: browsers ask for it."""

    @app.get("/api/models", response_model=list[About])
    def models() -> Any:
        """The models that can be asked."""
        return [{"name": name, **shelf.take(name).about()} for name in shelf.names]

    @app.get("/api/items", response_model=list[Named])
    def items(model: Text, words: Text = "", limit: Count = 10) -> Any:
        """Items whose title or token holds some words."""
        return shelf.take(model).search(words, limit)

    @app.get("/api/similar", response_model=list[Similar])
    def similar(model: Text, item: Text, topk: Count = 10) -> Any:
        """Items most like one."""
        return shelf.take(model).similar(item, topk)

    @app.get("/api/picture", response_class=Response)
    def picture(model: Text, item: Text) -> Response:
        """A small picture of an item, JPEG."""
        return Response(shelf.take(model).picture(item), media_type="image/jpeg")

    @app.post("/api/recommend", response_model=Recommendations)
    def recommend(asked: AskedToRecommend) -> Any:
        """Recommendations; by a MISSRec with their explanation, if it is asked for."""
        how = asked.topk, asked.exclude_history, asked.explain
        return shelf.take(asked.model).recommend(asked.history, *how)

    @app.post("/api/explain", response_model=Explanation)
    def explain(asked: AskedToExplain) -> Any:
        """Why an item has its score after a history."""
        return shelf.take(asked.model).explain(asked.history, asked.item)

    return app


Scope = MutableMapping[str, Any]
Send = Callable[[Scope], Awaitable[None]]
Receive = Callable[[], Awaitable[Scope]]


class BodyLimit:
    """Answers 413 to a body of more than ``MOST_BYTES`` bytes, which is not read further."""

    def __init__(self, app: Callable[[Scope, Receive, Send], Awaitable[None]]) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        body = b""
        more = True
        while more and len(body) <= MOST_BYTES:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        if len(body) > MOST_BYTES:
            detail = f"the body has more than {MOST_BYTES} bytes"
            await JSONResponse({"detail": detail}, 413)(scope, receive, send)
            return
        waiting: list[Scope] = [{"type": "http.request", "body": body, "more_body": False}]

        async def read() -> Scope:
            return waiting.pop() if waiting else await receive()

        await self.app(scope, read, send)
