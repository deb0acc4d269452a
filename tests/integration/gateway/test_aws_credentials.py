"""boto3 through the gateway, against a server that checks signatures."""

from __future__ import annotations

import io
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config

import oo
import oo.testing
from oo._core.io import LoopIO
from oo._core.pipeline import Pipeline
from oo._http.body import Body
from oo.gateway.app import Gateway
from oo.gateway.background import Background
from oo.gateway.context import GatewayContext
from oo.gateway.credentials.registry import Registry
from oo.gateway.headers import upstream_request
from oo.gateway.middleware.call_tools import Workshop
from oo.gateway.middleware.credentials import ApplyCredentials
from oo.gateway.middleware.mask import MaskResponse
from oo.gateway.models import Route
from oo.gateway.upstream import UpstreamTransport
from oo.testing import BackgroundLoop, temporary_vault
from tests.integration.gateway.test_gateway import ask
from tests.support.aws import KEY, KEY_ID, REGION, TRAILER, UNSIGNED, Aws
from tests.support.certificates import self_signed

LocalGateway = oo.testing.LocalGateway
SIGV4 = "sigv4 access_key={{id}} secret_key={{key}} region=eu-west-1 service={}"


@pytest.fixture
def aws() -> Iterator[Aws]:
    with BackgroundLoop() as background:
        yield background.enter(Aws())


@contextmanager
def over_tls(gateway: LocalGateway, directory: Path) -> Iterator[tuple[str, str]]:
    """The same gateway over TLS, and the file to trust."""
    made = self_signed(directory, "127.0.0.1")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(made.both)
    with BackgroundLoop() as background:
        yield background.enter(Gateway(gateway.vault, tls=context)).url, made.file


def client(service: str, url: str, token: str, version: str | None = None, **options: Any) -> Any:
    """An unchanged client with keys of its own, whose signature gives way to the token as it is sent."""
    style = {"addressing_style": "path"}
    config = Config(s3=style, retries={"max_attempts": 0}, proxies={}, signature_version=version)
    made = boto3.client(
        service,
        endpoint_url=f"{url}/api/proxy/",
        region_name="us-east-1",
        aws_access_key_id="AKIDCALLER",
        aws_secret_access_key="the-callers-own",
        aws_session_token="the-callers-session",
        config=config,
        **options,
    )

    def present(request: Any, **_: Any) -> None:
        del request.headers["Authorization"]
        request.headers["Authorization"] = f"Bearer {token}"

    made.meta.events.register("before-send", present)
    return made


def routed(gateway: LocalGateway, aws: Aws, service: str) -> str:
    gateway.secret("id", KEY_ID)
    gateway.secret("key", KEY)
    return gateway.route("aws", aws.url, credentials=(SIGV4.format(service),))


@pytest.mark.parametrize("key", ["plain.txt", "a b/c+d=é&?.txt", "x//y/./z"])
def test_boto3_puts_and_gets_objects(gateway: LocalGateway, aws: Aws, key: str) -> None:
    s3 = client("s3", gateway.url, routed(gateway, aws, "s3"))
    if "/./" in key:  # no such segment passes the gateway
        key = key.replace("/./", "/")
    s3.put_object(Bucket="bucket", Key=key, Body=b"the data", Metadata={"of": "mine"}, ContentType="text/plain")
    got = s3.get_object(Bucket="bucket", Key=key)
    assert (got["Body"].read(), aws.faults) == (b"the data", [])
    assert list(aws.objects) == [f"/bucket/{key}"]
    for _, target, headers in aws.seen:
        assert headers["authorization"].startswith(f"AWS4-HMAC-SHA256 Credential={KEY_ID}/")
        assert f"/{REGION}/s3/aws4_request" in headers["authorization"]
        assert "AKIDCALLER" not in target + str(headers)
        assert "the-callers-session" not in str(headers)
    # What the server echoes is masked: the signature, and the id of the key.
    echoed = str(got["Metadata"])
    assert "***" in echoed
    assert KEY_ID not in echoed
    assert aws.seen[-1][2]["authorization"].partition("Signature=")[2] not in echoed


def test_boto3_streams_a_body_up(gateway: LocalGateway, aws: Aws, tmp_path: Path) -> None:
    data = bytes(range(256)) * 8192
    token = routed(gateway, aws, "s3")
    with over_tls(gateway, tmp_path) as (url, trusted), ExitStack() as stack:
        s3 = stack.enter_context(closing(client("s3", url, token, verify=trusted)))
        s3.upload_fileobj(io.BytesIO(data), "bucket", "large")
        assert s3.get_object(Bucket="bucket", Key="large")["Body"].read() == data
    assert aws.faults == []
    # Over TLS boto3 sends its checksum behind the body, which is in chunks of its own.
    assert aws.seen[0][2]["x-amz-content-sha256"] == TRAILER


@pytest.mark.parametrize(("version", "mark"), [("s3v4", "X-Amz-Signature="), ("s3", "&Signature=")])
def test_a_callers_own_signature_in_the_query_is_removed(
    gateway: LocalGateway, aws: Aws, version: str, mark: str
) -> None:
    token = routed(gateway, aws, "s3")
    s3 = client("s3", gateway.url, token, version)
    aws.objects["/bucket/k"] = b"data"
    params = {"Bucket": "bucket", "Key": "k", "VersionId": "7"}
    signed = s3.generate_presigned_url("get_object", Params=params)
    assert mark in signed
    status, _, body = ask(gateway.url, "GET", signed.removeprefix(gateway.url), token)
    assert (status, body, aws.faults) == (200, b"data", [])
    assert [target for _, target, _ in aws.seen] == ["/bucket/k?versionId=7"]


def test_other_services_are_signed_with_the_bodys_digest(gateway: LocalGateway, aws: Aws) -> None:
    dynamodb = client("dynamodb", gateway.url, routed(gateway, aws, "dynamodb"))
    answer = dynamodb.list_tables()
    assert (answer["TableNames"], aws.faults) == (["t"], [])


def test_the_server_takes_no_other_signature(gateway: LocalGateway, aws: Aws) -> None:
    token = routed(gateway, aws, "s3")
    gateway.run(gateway.vault.put_secret("key", "another-secret-key"))
    status, _, body = ask(gateway.url, "GET", "/api/proxy/bucket/k", token)
    assert (status, aws.faults) == (403, ["the signature is wrong"])
    assert b"another-secret-key" not in body


async def flowing(service: str, method: str, path: str, data: bytes, **headers: str) -> tuple[Aws, oo.Response]:
    """What a server gets of a body that comes in pieces, by the end of the chain over a real connection."""

    async def pieces() -> AsyncIterator[bytes]:
        for at in range(0, len(data), 50_000):
            yield data[at : at + 50_000]

    async with temporary_vault() as vault, Aws() as aws:
        await vault.put_secret("id", KEY_ID)
        await vault.put_secret("key", KEY)
        route = Route("aws", aws.url, credentials=(SIGV4.format(service),), allow_private=True)
        upstream = UpstreamTransport(vault)
        applied = ApplyCredentials(Workshop(vault, upstream, Background()), Registry())
        context = GatewayContext()
        fields = [(name.replace("_", "-"), value) for name, value in headers.items()]
        request = upstream_request(route, method, path, fields, None, context)
        request = request.replace(body=Body(pieces(), length=len(data)))
        answer = await Pipeline([MaskResponse(), applied], upstream, LoopIO()).handle(request)
        answer = await answer.buffered()
        await upstream.close()
        return aws, answer


async def test_a_body_that_flows_goes_to_s3_unsigned() -> None:
    data = bytes(range(256)) * 8192
    aws, answer = await flowing("s3", "PUT", "bucket/k", data)
    assert (answer.status, aws.faults, aws.objects) == (200, [], {"/bucket/k": data})
    assert aws.seen[0][2]["x-amz-content-sha256"] == UNSIGNED


async def test_a_body_that_flows_is_spooled_where_its_digest_must_be_signed() -> None:
    data = b'{"a": "' + b"x" * (2 << 20) + b'"}'
    aws, answer = await flowing("dynamodb", "POST", "", data, X_Amz_Target="DynamoDB_20120810.ListTables")
    assert (answer.status, aws.faults) == (200, [])
    assert aws.seen[0][2]["content-length"] == str(len(data))
