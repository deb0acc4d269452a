"""botocore's own signer is the reference: for what goes upstream, it comes to the same signature."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from datetime import datetime, timezone
from typing import Any

import pytest
from aiohttp import web
from botocore import auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

import oo
from oo._http.body import Body
from oo.gateway.credentials.sigv4 import SigV4Credential
from oo.gateway.errors import StoreError
from tests.support.credential_tools import Tools
from tests.support.upstream import Upstream

VALUES = {"a": "AKIDEXAMPLE", "k": "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "t": "session/token=="}
NOW = 1_440_938_160.0  # 20150830T123600Z
EMPTY = hashlib.sha256().hexdigest()


@pytest.fixture
async def tools() -> AsyncIterator[Tools]:
    async with Tools(NOW) as tools:
        yield tools


def credential(service: str, extra: str = "") -> SigV4Credential:
    return SigV4Credential.parse(f"access_key={{a}} secret_key={{k}} region=eu-west-1 service={service} {extra}")


def request(method: str, url: str, body: bytes | Body | None = None, **headers: str) -> oo.Request:
    return oo.Request(method, url, oo.Headers({name.replace("_", "-"): text for name, text in headers.items()}), body)


def reference(sent: oo.Request, service: str, body: bytes, monkeypatch: Any) -> str:
    """What botocore signs the sent request with, of the headers that were signed."""
    signed = sent.headers["Authorization"].partition("SignedHeaders=")[2].partition(",")[0].split(";")
    headers = {name: sent.headers[name] for name in signed if name != "host" and name != "x-amz-date"}
    token = headers.pop("x-amz-security-token", None)
    monkeypatch.setattr(auth, "get_current_datetime", lambda *_: datetime.fromtimestamp(NOW, timezone.utc))
    signer = (auth.S3SigV4Auth if service == "s3" else auth.SigV4Auth)(
        Credentials(VALUES["a"], VALUES["k"], token), service, "eu-west-1"
    )
    theirs = AWSRequest(sent.method, sent.url, headers, body)
    signer.add_auth(theirs)
    return str(theirs.headers["Authorization"])


CALLS = [
    ("dynamodb", "POST", "https://dynamodb.eu-west-1.amazonaws.com/", b'{"TableName": "t"}'),
    ("dynamodb", "POST", "http://127.0.0.1:8000/", b""),
    ("sqs", "GET", "https://sqs.eu-west-1.amazonaws.com/123/q?A=x%2Fy&Action=ReceiveMessage&Version=2012-11-05", b""),
    ("lambda", "POST", "https://lambda.eu-west-1.amazonaws.com/2015-03-31/functions/arn%3Aaws%3Ax/invocations", b"{}"),
    ("execute-api", "DELETE", "https://h:8443/a%20b/c", b""),
    ("s3", "GET", "https://b.s3.amazonaws.com/", b""),
    ("s3", "GET", "https://b.s3.amazonaws.com/a%20b//c%2Bd/%C3%A9?list-type=2&prefix=x%2Fy", b""),
    ("s3", "PUT", "http://127.0.0.1:9000/b/k%3Dv", b"data" * 100),
    ("s3", "GET", "https://b.s3.amazonaws.com/?acl=", b""),
]


@pytest.mark.parametrize(("service", "method", "url", "body"), CALLS)
@pytest.mark.parametrize("extra", ["", "session_token={t}"])
async def test_it_signs_as_botocore_does(
    service: str, method: str, url: str, body: bytes, extra: str, tools: Tools, monkeypatch: pytest.MonkeyPatch
) -> None:
    call = request(method, url, body, Content_Type="application/x-amz-json-1.0", X_Amz_Target="T.x", User_Agent="u")
    sent = await credential(service, extra).apply(call, VALUES, tools)
    assert sent.url == url
    assert sent.headers["Authorization"] == reference(sent, service, body, monkeypatch)
    assert "user-agent" not in sent.headers["Authorization"]
    assert sent.headers["X-Amz-Date"] == "20150830T123600Z"
    assert sent.headers["Authorization"].partition("Signature=")[2] in tools.hidden


async def test_a_callers_own_signature_is_removed(tools: Tools, monkeypatch: pytest.MonkeyPatch) -> None:
    place = "https://b.s3.amazonaws.com/k"
    theirs = "&".join(
        f"X-Amz-{name}=x" for name in "Algorithm Credential Date Expires SignedHeaders Signature Security-Token".split()
    )
    call = request(
        "GET",
        f"{place}?{theirs}&x-amz-signature=y&versionId=1",
        authorization="AWS4-HMAC-SHA256 Credential=fake",
        x_amz_date="20200101T000000Z",
        x_amz_security_token="fake",
        x_amz_content_sha256="UNSIGNED-PAYLOAD",
    )
    sent = await credential("s3").apply(call, VALUES, tools)
    assert sent.url == f"{place}?versionId=1"
    assert "fake" not in str(sent.headers.pairs())
    assert list(sent.headers) == ["x-amz-date", "x-amz-content-sha256", "authorization"]
    assert sent.headers["X-Amz-Content-Sha256"] == EMPTY
    assert sent.headers["Authorization"] == reference(sent, "s3", b"", monkeypatch)


async def test_a_query_goes_as_it_was_signed(tools: Tools, monkeypatch: pytest.MonkeyPatch) -> None:
    sent = await credential("sqs").apply(request("GET", "https://h/q?b=x+y&a"), VALUES, tools)
    assert sent.url == "https://h/q?a=&b=x%20y"
    assert sent.headers["Authorization"] == reference(sent, "sqs", b"", monkeypatch)


@pytest.mark.parametrize("service", ["s3", "dynamodb"])
@pytest.mark.parametrize("target", ["/a%20b/k%3Dv%2Bw?x-id=a%2Fb&acl", "//k//", "/"])
@pytest.mark.parametrize("body", [b"data", None])
async def test_the_bytes_that_go_over_the_wire_are_those_that_were_signed(
    service: str, target: str, body: bytes | None, tools: Tools, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[web.BaseRequest, bytes]] = []

    class Recording(Upstream):
        async def handle(self, request: web.BaseRequest) -> web.Response:
            seen.append((request, await request.read()))
            return web.Response()

    async with Recording() as upstream:
        call = request("POST" if body else "GET", f"{upstream.url}{target}", body, Content_Type="text/plain")
        await tools.send(await credential(service).apply(call, VALUES, tools))
    ((got, data),) = seen
    came = oo.Request(got.method, f"http://{got.headers['Host']}{got.raw_path}", oo.Headers(list(got.headers.items())))
    assert got.headers["Authorization"] == reference(came, service, data, monkeypatch)


def flowing(*, replayable: bool = False) -> Body:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"some "
        yield b"data"

    return Body(pieces if replayable else pieces())


@pytest.mark.parametrize("declared", [None, "UNSIGNED-PAYLOAD", "not a digest"])
async def test_a_body_that_flows_to_s3_is_not_read(declared: str | None, tools: Tools) -> None:
    body = flowing()
    headers = {} if declared is None else {"X-Amz-Content-Sha256": declared}
    sent = await credential("s3").apply(request("PUT", "https://h/k", body, **headers), VALUES, tools)
    assert sent.headers["X-Amz-Content-Sha256"] == "UNSIGNED-PAYLOAD"
    assert sent.body is body
    assert (body.begun, tools.spooled) == (False, 0)


@pytest.mark.parametrize("declared", [hashlib.sha256(b"some data").hexdigest(), "STREAMING-UNSIGNED-PAYLOAD-TRAILER"])
async def test_the_digest_that_a_caller_gave_for_s3_is_signed(declared: str, tools: Tools) -> None:
    body = flowing()
    call = request("PUT", "https://h/k", body, X_Amz_Content_Sha256=declared)
    sent = await credential("s3").apply(call, VALUES, tools)
    assert (sent.headers["X-Amz-Content-Sha256"], body.begun) == (declared, False)


@pytest.mark.parametrize(("replayable", "spooled"), [(False, 1), (True, 0)])
async def test_for_other_services_a_body_is_spooled_and_its_digest_signed(
    replayable: bool, spooled: int, tools: Tools, monkeypatch: pytest.MonkeyPatch
) -> None:
    call = request("POST", "https://h/", flowing(replayable=replayable))
    sent = await credential("dynamodb").apply(call, VALUES, tools)
    assert isinstance(sent.body, Body)
    assert b"".join([piece async for piece in sent.body]) == b"some data"
    assert tools.spooled == spooled
    assert sent.headers["Authorization"] == reference(sent, "dynamodb", b"some data", monkeypatch)


async def test_a_digest_that_a_service_asks_for_is_the_bodys_own(tools: Tools) -> None:
    call = request("POST", "https://h/", b"data", X_Amz_Content_Sha256=EMPTY)
    sent = await credential("glacier").apply(call, VALUES, tools)
    assert sent.headers["X-Amz-Content-Sha256"] == hashlib.sha256(b"data").hexdigest()


@pytest.mark.parametrize(
    ("service", "declared"),
    [("s3", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"), ("dynamodb", "STREAMING-UNSIGNED-PAYLOAD-TRAILER")],
)
async def test_a_body_signed_in_chunks_is_refused(service: str, declared: str, tools: Tools) -> None:
    call = request("PUT", "https://h/k", b"", X_Amz_Content_Sha256=declared)
    with pytest.raises(oo.DoubleOError, match="signed its body in chunks"):
        await credential(service).apply(call, VALUES, tools)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "access_key={a} secret_key=canary region=r service=s3",
        "access_key={a} secret_key={k} region=r service=s3 session_token=canary",
        "access_key={a} secret_key={k} region=R/canary service=s3",
        "access_key={a} secret_key={k} region={r} service=s3",
        "access_key={a} secret_key={k} region=r service='s 3'",
        "access_key={a} secret_key={k} region=r",
    ],
)
def test_what_can_never_sign_is_refused_and_not_quoted(text: str) -> None:
    with pytest.raises(StoreError) as caught:
        SigV4Credential.parse(text)
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize("wrong", [{"a": "AK/1"}, {"a": ""}, {"k": "é"}, {"t": "a b"}])
def test_values_that_cannot_be_sent_are_refused(wrong: dict[str, str]) -> None:
    made = credential("s3", "session_token={t}")
    made.check(VALUES)
    with pytest.raises(oo.DoubleOError, match="a value cannot be"):
        made.check({**VALUES, **wrong})


def test_it_shows_its_secrets_alone() -> None:
    made = credential("s3")
    assert made.shown() == "sigv4 access_key={a} secret_key={k} region=eu-west-1 service=s3"
    assert (made.secrets, made.is_last, made.sets) == ({"a", "k"}, True, "the header authorization")
