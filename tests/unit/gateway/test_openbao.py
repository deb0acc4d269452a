from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from oo.gateway.errors import StoreError, StoreUnavailable
from oo.gateway.openbao import OpenBao
from tests.support.bao import Bao, running
from tests.support.certificates import self_signed
from tests.support.postgres import free_port

CANARY = "s.canary-token-5b1e"
KEY, CONTEXT = b"k" * 40, b"context"


def test_a_key_is_wrapped_and_unwrapped_in_its_context_alone(bao: Bao) -> None:
    kms = OpenBao(bao.url, bao.environ)
    wrapped = kms.wrap(KEY, CONTEXT)
    assert KEY not in wrapped
    assert wrapped != kms.wrap(KEY, CONTEXT)
    assert kms.unwrap(wrapped, CONTEXT) == KEY
    for changed, context in ((wrapped, b"other"), (wrapped[:-4] + b"AAA=", CONTEXT), (b"vault:v9:AAAA", CONTEXT)):
        with pytest.raises(ValueError, match="not wrapped so"):
            kms.unwrap(changed, context)


def test_what_an_older_version_has_wrapped_opens(bao: Bao) -> None:
    kms = OpenBao(bao.url, bao.environ)
    before = kms.wrap(KEY, CONTEXT)
    bao.ask("transit/keys/oo/rotate")
    after = kms.wrap(KEY, CONTEXT)
    assert before.split(b":")[1] != after.split(b":")[1]
    assert kms.unwrap(before, CONTEXT) == kms.unwrap(after, CONTEXT) == KEY


@pytest.mark.parametrize(
    ("path", "token", "said"),
    [
        ("transit/keys/oo", CANARY, r"refuses to encrypt: its token has expired or may not \(HTTP 403\)"),
        ("transit/keys/other", None, "its token has expired or may not"),
        ("none/keys/oo", None, "its token has expired or may not"),
    ],
)
def test_what_is_refused_is_said_without_the_token(bao: Bao, path: str, token: str | None, said: str) -> None:
    kms = OpenBao(bao.url.replace("transit/keys/oo", path), {"BAO_TOKEN": token or bao.token})
    for attempt in (lambda: kms.wrap(KEY, CONTEXT), lambda: kms.unwrap(b"vault:v1:AAAA", CONTEXT)):
        with pytest.raises(StoreError, match=said.replace("encrypt", "(en|de)crypt")) as caught:
            attempt()
        assert (token or bao.token) not in repr(caught.value)
        assert caught.value.__context__ is None


def test_a_sealed_one_and_a_place_without_an_engine_are_said() -> None:
    with running() as mine:
        root = {"BAO_TOKEN": mine._root}
        with pytest.raises(StoreError, match=r"there is no transit engine at that path \(HTTP 404\)"):
            OpenBao(mine.url.replace("transit/", "none/"), root).wrap(KEY, CONTEXT)
        mine.ask("transit/keys/signs", type="ed25519")
        with pytest.raises(StoreError, match=r"there is no such key, or it is of another type \(HTTP 400\)"):
            OpenBao(mine.url.replace("keys/oo", "keys/signs"), root).wrap(KEY, CONTEXT)
        mine.ask("sys/seal")
        with pytest.raises(StoreUnavailable, match=r"is sealed or is not ready \(HTTP 503\)"):
            OpenBao(mine.url, mine.environ).wrap(KEY, CONTEXT)


def test_one_that_is_not_there_is_named_with_what_happened() -> None:
    kms = OpenBao(f"openbao+http://127.0.0.1:{free_port()}/transit/keys/oo", {"BAO_TOKEN": CANARY})
    with pytest.raises(
        StoreUnavailable, match=r"the KMS at http://127\.0\.0\.1:\d+ \(transit/keys/oo\) does not answer: "
    ) as e:
        kms.wrap(KEY, CONTEXT)
    assert CANARY not in str(e.value)
    assert e.value.__context__ is None


class Odd(BaseHTTPRequestHandler):
    """Answers what OpenBao never would: `answer` is a status and a body."""

    answer = (200, b"")

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        status, body = self.answer
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Location", "http://127.0.0.1:9/")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def odd(monkeypatch: pytest.MonkeyPatch) -> Iterator[OpenBao]:
    with HTTPServer(("127.0.0.1", 0), Odd) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield OpenBao(f"openbao+http://127.0.0.1:{server.server_port}/transit/keys/oo", {"BAO_TOKEN": CANARY})
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"[]",
        b"[" * 100_000,
        b'{"data": 7}',
        b'{"data": {}}',
        b'{"data": {"plaintext": "?", "ciphertext": 7}}',
    ],
    ids=lambda body: str(body[:16]),
)
def test_an_answer_that_is_none_is_said(odd: OpenBao, monkeypatch: pytest.MonkeyPatch, body: bytes) -> None:
    monkeypatch.setattr(Odd, "answer", (200, body))
    for attempt in (lambda: odd.wrap(KEY, CONTEXT), lambda: odd.unwrap(b"vault:v1:AAAA", CONTEXT)):
        with pytest.raises(StoreUnavailable, match="answered what OpenBao does not"):
            attempt()


@pytest.mark.parametrize("status", [307, 429, 500])
def test_another_status_is_said_and_no_redirect_is_followed(
    odd: OpenBao, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    monkeypatch.setattr(Odd, "answer", (status, b"{}"))
    with pytest.raises(StoreUnavailable, match=f"answered decrypt with HTTP {status}"):
        odd.unwrap(b"vault:v1:AAAA", CONTEXT)


@pytest.mark.parametrize(
    "url",
    [
        "openbao://",
        "openbao:///transit/keys/oo",
        "openbao://host",
        "openbao://host/transit/oo",
        "openbao://host/keys/oo",
        "openbao://host/transit/keys/",
        "openbao://host/transit/keys/a/b",
        "openbao://host/transit/keys/oo?token=canary",
        "openbao://host/transit/keys/oo#canary",
        "openbao://canary@host/transit/keys/oo",
        "openbao://host:port/transit/keys/oo",
        "openbao://[::1/transit/keys/oo",
    ],
)
def test_what_is_no_url_of_a_key_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(StoreError, match="holds what is no URL such as openbao://bao") as caught:
        OpenBao(url, {})
    assert "canary" not in str(caught.value)


def test_it_is_spoken_to_over_tls_unless_it_is_on_this_machine() -> None:
    with pytest.raises(StoreError, match=r"10\.0\.0\.1 is not on this machine"):
        OpenBao("openbao+http://10.0.0.1:8200/transit/keys/oo", {})
    assert str(OpenBao("openbao://bao.example/a/b/keys/oo", {})) == "the KMS at https://bao.example:8200 (a/b/keys/oo)"
    assert "https://[::1]:8200 " in str(OpenBao("openbao://[::1]/transit/keys/oo", {}))


async def test_over_tls_its_authority_is_the_one_that_is_named(bao: Bao, tmp_path: Path) -> None:
    certificate = self_signed(tmp_path, "127.0.0.1")

    async def passed(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        onward, back = await asyncio.open_connection("127.0.0.1", bao.port)
        await asyncio.gather(_copied(reader, back), _copied(onward, writer))

    server = await asyncio.start_server(passed, "127.0.0.1", 0, ssl=certificate.server)
    async with server:
        port = server.sockets[0].getsockname()[1]
        url = f"openbao://127.0.0.1:{port}/transit/keys/oo"
        trusting = OpenBao(url, {**bao.environ, "BAO_CACERT": certificate.file})
        wrapped = await asyncio.to_thread(trusting.wrap, KEY, CONTEXT)
        assert await asyncio.to_thread(trusting.unwrap, wrapped, CONTEXT) == KEY
        with pytest.raises(StoreUnavailable, match="does not answer: "):
            await asyncio.to_thread(OpenBao(url, bao.environ).wrap, KEY, CONTEXT)
    with pytest.raises(StoreError, match=r"certificates to trust .* cannot be read"):
        OpenBao(url, {**bao.environ, "BAO_CACERT": str(tmp_path / "none")}).wrap(KEY, CONTEXT)


async def _copied(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
    writer.close()


def test_the_token_is_that_of_the_file_as_it_is_then(bao: Bao, tmp_path: Path) -> None:
    file = tmp_path / "token"
    kms = OpenBao(bao.url, {"BAO_TOKEN_FILE": str(file), "BAO_TOKEN": CANARY})
    with pytest.raises(StoreError, match=r"BAO_TOKEN_FILE: .* cannot be read: FileNotFoundError"):
        kms.wrap(KEY, CONTEXT)
    with pytest.raises(StoreError, match=r"BAO_TOKEN_FILE: ~nobody-here/token cannot be read: RuntimeError"):
        OpenBao(bao.url, {"BAO_TOKEN_FILE": "~nobody-here/token"}).wrap(KEY, CONTEXT)
    file.write_text(f"{bao.token}\n")
    file.chmod(0o600)
    assert kms.unwrap(kms.wrap(KEY, CONTEXT), CONTEXT) == KEY
    for odd in ("", "two words", "a\nb", "é"):
        file.write_text(odd)
        with pytest.raises(StoreError, match="holds no token for the KMS at"):
            kms.wrap(KEY, CONTEXT)
    file.write_text(bao.token)
    file.chmod(0o644)
    with pytest.warns(UserWarning, match="which is the token of transit/keys/oo"):
        kms.wrap(KEY, CONTEXT)


def test_without_a_token_the_message_says_what_to_set(bao: Bao) -> None:
    with pytest.raises(StoreError, match=r"BAO_TOKEN holds no token .* set BAO_TOKEN_FILE or BAO_TOKEN"):
        OpenBao(bao.url, {}).wrap(KEY, CONTEXT)
