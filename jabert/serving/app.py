"""The routes of `jabert serve`: those of MLflow's scoring server, and the OpenAPI page."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from importlib.metadata import version

from fastapi import FastAPI, Request, Response
from fastapi_offline import FastAPIOffline  # FastAPI's own pages load scripts from another host
from mlflow.exceptions import MlflowException
from mlflow.utils.proto_json_utils import NumpyEncoder
from mlflow.version import VERSION as MLFLOW_VERSION
from starlette.exceptions import HTTPException
from starlette.responses import PlainTextResponse

from jabert.config import ServingSettings
from jabert.serving.access import AccessLog
from jabert.serving.batcher import Answer, Batcher
from jabert.serving.errors import CLOSE, RequestError, ended_early, sentence_of, to_json, too_long
from jabert.serving.follower import Follower
from jabert.serving.formats import Inputs, read_request
from jabert.serving.log import write_failure
from jabert.serving.metrics import Metrics
from jabert.serving.openapi import ABOUT, INVOCATIONS, RESPONSES, Health
from jabert.serving.protocol import REFUSAL

_JSON = "application/json"


def build_app(follower: Follower, settings: ServingSettings, metrics: Metrics) -> AccessLog:
    """Build the ASGI application, whose lifespan starts and stops the batcher and the follower."""
    batcher = Batcher(follower, settings, metrics)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        batcher.start()
        follower.start()
        yield
        follower.stop()
        batcher.stop()

    app = FastAPIOffline(
        title="jabert",
        version=version("jabert"),
        description=ABOUT,
        lifespan=lifespan,
        redoc_url=None,
        redirect_slashes=False,
        swagger_ui_parameters={"defaultModelsExpandDepth": 0},
    )
    _add_routes(app, follower, batcher, settings, metrics)
    _add_error_handlers(app)
    return AccessLog(app, follower, metrics)


def _add_routes(
    app: FastAPI, follower: Follower, batcher: Batcher, settings: ServingSettings, metrics: Metrics
) -> None:
    @app.post(
        "/invocations",
        summary="Classify texts",
        tags=["predictions"],
        operation_id="classify",
        openapi_extra=INVOCATIONS,
        responses=RESPONSES,
    )
    async def invocations(request: Request) -> Response:
        until = asyncio.get_running_loop().time() + settings.timeout_seconds
        body = await _read_body(request, settings.max_body_bytes, until)
        kind, optional = request.headers.get("content-type", ""), follower.served.neighbours
        inputs = read_request(body, kind, settings, optional)
        request.state.rows = len(inputs.texts)
        rows, cut, request.state.version = await _predict(batcher, inputs, until)
        headers = {"X-Jabert-Cut": ",".join(map(str, cut))} if cut else None
        return Response(json.dumps({"predictions": rows}, cls=NumpyEncoder), 200, headers, _JSON)

    @app.get("/ping", tags=["server"], summary="Whether the server answers", response_class=PlainTextResponse)
    async def ping() -> Response:
        return PlainTextResponse("\n")

    @app.get("/health", tags=["server"], summary="The version served, and why the alias cannot be followed")
    async def health() -> Health:
        trouble, version = follower.trouble, follower.served.version.label
        status = "degraded" if trouble else "ok"
        return Health(status=status, model=follower.address.uri, version=version, trouble=trouble)

    @app.get("/version", tags=["server"], summary="MLflow's version", response_class=PlainTextResponse)
    async def version() -> Response:
        return PlainTextResponse(MLFLOW_VERSION)

    @app.get("/metrics", tags=["server"], summary="Metrics for Prometheus", response_class=PlainTextResponse)
    async def prometheus() -> Response:
        return PlainTextResponse(metrics.to_text())


async def _read_body(request: Request, longest: int, until: float) -> bytes:
    """Read the body; fails as soon as it is too long, or if it is incomplete at loop time `until`."""
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > longest:
        raise too_long(longest)
    body, is_complete = bytearray(), False
    try:
        async with asyncio.timeout_at(until):
            while not is_complete:
                message = await request.receive()
                if refusal := request.scope["state"].get(REFUSAL):
                    raise refusal
                if message["type"] == "http.disconnect":
                    raise ended_early()
                body += message["body"]
                is_complete = not message["more_body"]
    except TimeoutError:
        raise RequestError(408, "the body did not arrive in time", CLOSE) from None
    return bytes(body)


async def _predict(batcher: Batcher, inputs: Inputs, until: float) -> Answer:
    try:
        async with asyncio.timeout_at(until):
            return await batcher.submit(inputs)
    except TimeoutError:
        raise RequestError(504, "the prediction did not end in time") from None
    except RequestError:
        raise
    except Exception as error:  # of any type: the model's own code ran
        if isinstance(error, MlflowException) and error.get_http_status_code() < 500:  # type: ignore[no-untyped-call]
            raise RequestError(400, sentence_of(error.message)) from None
        write_failure("the model failed on a request", error)
        raise RequestError(500, "the model failed on this request") from None


def _add_error_handlers(app: FastAPI) -> None:
    @app.exception_handler(RequestError)
    async def refuse(_: Request, refusal: RequestError) -> Response:
        return Response(to_json(refusal), refusal.status_code, headers=refusal.headers, media_type=_JSON)

    @app.exception_handler(HTTPException)
    async def refuse_route(request: Request, error: HTTPException) -> Response:
        reason = HTTPStatus(error.status_code).phrase.lower()
        sentence = f"{reason}: POST /invocations classifies texts, GET /docs shows how"
        # The connection is closed because the rest of the request's body is not read.
        headers = {**(error.headers or {}), **CLOSE}
        return await refuse(request, RequestError(error.status_code, sentence, headers))

    @app.exception_handler(Exception)
    async def fail(request: Request, _: Exception) -> Response:
        return await refuse(request, RequestError(500, "the server failed on this request"))
