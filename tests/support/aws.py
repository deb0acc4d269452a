"""A server of AWS's shape, S3 and DynamoDB, that takes no request but with the signature that botocore computes."""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any

from aiohttp import web
from botocore import auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from tests.support.upstream import Upstream

KEY_ID = "AKIDEXAMPLE0123"
KEY = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
REGION = "eu-west-1"
UNSIGNED = "UNSIGNED-PAYLOAD"
TRAILER = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
_AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 Credential=([^/]+)/\d{8}/([^/]+)/([^/]+)/aws4_request, SignedHeaders=([^,]+), Signature=(\w{64})"
)


class Aws(Upstream):
    """Listens on loopback while its `async with` block runs. `objects` holds what was put, `seen` the requests: method,
    target, headers, and `faults` what was wrong with one that was refused."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.seen: list[tuple[str, str, dict[str, str]]] = []
        self.faults: list[str] = []

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        body = b"".join([piece async for piece in request.content.iter_any()])  # read() stops at 1 MiB
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.seen.append((request.method, request.raw_path, headers))
        service = "dynamodb" if "x-amz-target" in headers else "s3"
        if fault := verify(request, headers, body, service):
            self.faults.append(fault)
            return web.Response(status=403, body=_error("SignatureDoesNotMatch", fault), content_type="application/xml")
        if service == "dynamodb":
            said = {"TableNames": ["t"], "Echo": str(request.headers)}
            return web.Response(body=json.dumps(said).encode(), content_type="application/x-amz-json-1.0")
        return self.s3(request, headers, body)

    def s3(self, request: web.BaseRequest, headers: dict[str, str], body: bytes) -> web.StreamResponse:
        if request.method == "PUT":
            self.objects[request.path] = _decoded(body) if headers.get("x-amz-content-sha256") == TRAILER else body
            return web.Response(headers={"ETag": f'"{hashlib.md5(body).hexdigest()}"'})
        if request.path not in self.objects:
            return web.Response(status=404, body=_error("NoSuchKey", "none"), content_type="application/xml")
        echo = {f"X-Amz-Meta-Echo-{n}": value for n, value in enumerate(request.headers.values())}
        return web.Response(body=self.objects[request.path], headers={"ETag": '"e"', **echo})


def verify(request: web.BaseRequest, headers: dict[str, str], body: bytes, service: str) -> str:
    """What is wrong with a request's signature; "" where nothing is."""
    authorizations = request.headers.getall("Authorization", [])
    match = _AUTHORIZATION.fullmatch(authorizations[0]) if len(authorizations) == 1 else None
    if match is None:
        return "no signature"
    key_id, region, signed_for, names, signature = match.groups()
    if (key_id, region, signed_for) != (KEY_ID, REGION, service):
        return "signed by or for another"
    if "x-amz-signature" in request.raw_path.lower():
        return "signed twice"
    if unsigned := [name for name in headers if name.startswith("x-amz-") and name not in names.split(";")]:
        return f"{unsigned[0]} is not signed"
    theirs: Any = AWSRequest(
        request.method,
        f"http://{headers['host']}{request.raw_path}",
        {name: headers[name] for name in names.split(";") if name != "host"},
        body,
    )
    theirs.context["timestamp"] = headers["x-amz-date"]
    signer = (auth.S3SigV4Auth if service == "s3" else auth.SigV4Auth)(Credentials(KEY_ID, KEY), service, REGION)
    canonical = signer.canonical_request(theirs)
    if signer.signature(signer.string_to_sign(theirs, canonical), theirs) != signature:
        return "the signature is wrong"
    declared = headers.get("x-amz-content-sha256", UNSIGNED if service == "s3" else None)
    if declared not in (UNSIGNED, TRAILER, None, hashlib.sha256(body).hexdigest()):
        return "the digest is wrong"
    return ""


def _decoded(body: bytes) -> bytes:
    """What a body in aws-chunked holds."""
    data, rest = b"", body
    while True:
        size, _, rest = rest.partition(b"\r\n")
        length = int(size.partition(b";")[0], 16)
        if not length:
            return data
        data, rest = data + rest[:length], rest[length + 2 :]


def _error(code: str, message: str) -> bytes:
    return f"<Error><Code>{code}</Code><Message>{message}</Message></Error>".encode()
