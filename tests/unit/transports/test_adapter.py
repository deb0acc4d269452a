from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncIterator
from typing import Any

import pytest
from requests.adapters import HTTPAdapter

import oo
from oo._http.body import Body
from oo.transports import adapter
from tests.support.faults import answer, serving
from tests.support.probing import TOKEN

JSON = {"Content-Type": "application/json"}


async def pieces() -> AsyncIterator[bytes]:
    yield b"one"
    yield b"two"


REQUESTS: list[tuple[str, dict[str, Any]]] = [
    ("GET", {}),
    ("POST", {"body": b"{}", "headers": JSON}),
    ("POST", {}),
    ("PUT", {"body": b""}),
    ("DELETE", {"headers": {"X-Name": "Zo\xeb", "accept-encoding": "identity", "user-agent": "own"}}),
    ("POST", {"body": Body(pieces(), length=6)}),
    ("POST", {"body": Body(pieces())}),
    ("GET", {"headers": oo.Headers([("X-A", "1"), ("x-a", "2"), ("Host", "other.example")])}),
]


@pytest.mark.parametrize("path", ["/", "/a/b?c=d&e", "//double?x=%2F", "/p%20q"])
@pytest.mark.parametrize(("method", "rest"), REQUESTS)
def test_what_goes_to_a_pool_at_once_is_what_the_adapter_sends(
    method: str, rest: dict[str, Any], path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def sent() -> bytes:
        body = rest.get("body")
        own = Body(pieces(), length=body.length) if isinstance(body, Body) else body
        with (
            serving(reply=lambda _request: answer(b"{}")) as upstream,
            oo.Client(upstream.url, plugins=False) as client,
        ):
            headers = oo.Headers(rest.get("headers", ()))
            request = oo.Request(method, f"{upstream.url}{path}", headers, own, base_url=upstream.url)
            client._pipeline.run(request)
            (received,) = upstream.requests
            return bytes(received).replace(upstream.url.partition("//")[2].encode(), b"HOST")

    direct = sent()
    monkeypatch.setattr(adapter, "_OWN", None)
    assert sent() == direct
    assert direct.startswith(f"{method} {path} HTTP/1.1\r\n".encode())


@pytest.mark.filterwarnings("ignore:.* is plain http")
@pytest.mark.parametrize(("proxied", "asked"), [(False, 0), (True, 1)])
def test_the_adapters_own_step_is_taken_where_something_stands_between(
    proxied: bool, asked: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []
    own = adapter.Adapter.send

    def send(self: Any, request: Any, *args: Any, **kwargs: Any) -> Any:
        steps.append(request.url)
        return own(self, request, *args, **kwargs)

    monkeypatch.setattr(adapter.Adapter, "send", send)
    with serving(reply=lambda _request: answer(b'{"value": "x"}')) as upstream:
        if proxied:
            monkeypatch.setenv("HTTP_PROXY", upstream.url)
        with oo.Client("http://api.test" if proxied else upstream.url, plugins=False) as client:
            assert client.get_secret(TOKEN) == "x"
    assert len(steps) == asked


def test_a_mock_of_the_adapter_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    class Mocked(Exception):
        pass

    def refuse(*_args: Any, **_kwargs: Any) -> Any:
        raise Mocked

    monkeypatch.setattr(HTTPAdapter, "send", refuse)
    with oo.Client("http://127.0.0.1:9", plugins=False) as client, pytest.raises(Mocked):
        client.get_secret(TOKEN)


def test_a_mock_that_is_there_before_the_library_answers() -> None:
    program = f"""
import responses

with responses.mock:
    responses.get("http://127.0.0.1:9/api/secret", json={{"value": "mocked"}})
    import oo
    with oo.Client("http://127.0.0.1:9", plugins=False) as client:
        print(client.get_secret({TOKEN!r}))
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ended.stdout == "mocked\n"


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("http://h", ("http", "h", None, "/")),
        ("https://h:8/?a", ("https", "h", 8, "/?a")),
        ("http://[::1]:9//x?y=1", ("http", "::1", 9, "//x?y=1")),
    ],
)
def test_a_url_says_where_a_request_goes(url: str, place: tuple[object, ...]) -> None:
    assert adapter._place(url) == place
