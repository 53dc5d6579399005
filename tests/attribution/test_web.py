"""Each web framework with a real server and real requests: the tag is on the record, a refused call is answered 429."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, make_server

import pytest

import tokenmeter
from tokenmeter import Budget, Record, Usage
from tokenmeter.attribution import AsgiMiddleware, WsgiMiddleware, init_flask
from tokenmeter.errors import ConfigurationError
from tokenmeter.testing import capture

HEADERS = {"X-User": "user"}


@pytest.fixture
def records() -> Iterator[list[Record]]:
    meter = tokenmeter.configure(
        budgets=[Budget("2 calls", name="calls of a user", per="total", each="user")], spans="none", replace=True
    )
    with capture(meter) as found:
        yield found
    tokenmeter.configure(replace=True)


def call_a_model() -> None:
    with tokenmeter.call("deepseek", "deepseek-chat") as call:
        call.observe_usage(Usage(input_tokens=10, output_tokens=5))


def get(port: int, user: str) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request("GET", "/", headers={"x-user": user})
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer.status, {name.lower(): value for name, value in answer.getheaders()}, body


class Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        return


@contextmanager
def wsgi_server(app: Any) -> Iterator[int]:
    server = make_server("127.0.0.1", 0, app, handler_class=Quiet)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server.server_port
    server.shutdown()
    server.server_close()


@contextmanager
def asgi_server(app: Any) -> Iterator[int]:
    uvicorn = pytest.importorskip("uvicorn")
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="error", lifespan="off"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        thread.join(0.01)
    yield server.servers[0].sockets[0].getsockname()[1]
    server.should_exit = True
    thread.join(10)


def plain_wsgi() -> Any:
    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        call_a_model()
        start_response("200 OK", [("content-type", "text/plain")])
        return [b"ok"]

    return WsgiMiddleware(app, headers=HEADERS)


def flask_app() -> Any:
    flask = pytest.importorskip("flask")
    app = flask.Flask("app")

    @app.get("/")  # type: ignore[untyped-decorator]
    def view() -> str:
        call_a_model()
        return "ok"

    init_flask(app, headers=HEADERS)
    return app


def django_settings() -> None:
    settings = pytest.importorskip("django.conf").settings
    if not settings.configured:
        settings.configure(
            ROOT_URLCONF="tests.attribution.django_urls",
            MIDDLEWARE=["tokenmeter.attribution.django.DjangoMiddleware"],
            TOKENMETER_HEADERS=HEADERS,
            ALLOWED_HOSTS=["*"],
            SECRET_KEY="for tests",
        )
        pytest.importorskip("django").setup()


def django_wsgi() -> Any:
    django_settings()
    from django.core.wsgi import get_wsgi_application

    return get_wsgi_application()


def django_asgi() -> Any:
    django_settings()
    from django.core.asgi import get_asgi_application

    return get_asgi_application()


def fastapi_app() -> Any:
    fastapi = pytest.importorskip("fastapi")
    app = fastapi.FastAPI()

    @app.get("/")  # type: ignore[untyped-decorator]
    async def view() -> str:
        call_a_model()
        return "ok"

    app.add_middleware(AsgiMiddleware, headers=HEADERS)
    return app


@pytest.mark.parametrize(
    ("serve", "make"),
    [
        pytest.param(wsgi_server, plain_wsgi, id="wsgi"),
        pytest.param(wsgi_server, flask_app, id="flask"),
        pytest.param(wsgi_server, django_wsgi, id="django"),
        pytest.param(asgi_server, django_asgi, id="django-asgi"),
        pytest.param(asgi_server, fastapi_app, id="fastapi"),
    ],
)
def test_the_tag_is_on_the_record_and_a_refused_call_is_429(serve: Any, make: Any, records: list[Record]) -> None:
    with serve(make()) as port:
        answers = [get(port, user) for user in ("u1", "u1", "u1", "u2")]
    assert [status for status, _, _ in answers] == [200, 200, 429, 200]
    assert [record.tags.get("user") for record in records] == ["u1", "u1", "u1", "u2"]
    _, headers, body = answers[2]
    assert "retry-after" not in headers  # per="total": it never resets
    assert json.loads(body)["error"]["budget"] == "calls of a user"


def test_retry_after_is_given_where_the_window_resets(records: list[Record]) -> None:
    tokenmeter.configure(budgets=[Budget("1 calls", name="hourly", per="hour")])
    with wsgi_server(plain_wsgi()) as port:
        statuses = [get(port, "u") for _ in range(2)]
    assert statuses[-1][0] == 429
    assert 1 <= int(statuses[-1][1]["retry-after"]) <= 3600


def test_pieces_of_an_answer_are_made_with_the_tags_of_its_request(records: list[Record]) -> None:
    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterator[bytes]:
        start_response("200 OK", [])
        call_a_model()
        yield b"o"
        call_a_model()
        yield b"k"

    with wsgi_server(WsgiMiddleware(app, headers=HEADERS, tags=lambda environ: {"team": "search"})) as port:
        assert get(port, "v" * 500)[2] == b"ok"
    assert [dict(record.tags) for record in records] == [{"user": "v" * 64, "team": "search"}] * 2


@pytest.mark.parametrize("bad", [{"headers": {"x": 1}}, {"headers": {str(n): "t" for n in range(9)}}, {"tags": "t"}])
def test_bad_arguments_are_named(bad: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(bad))):
        AsgiMiddleware(lambda *_: None, **bad)  # type: ignore[arg-type, return-value]
