"""AWS Signature Version 4: `sigv4 access_key={a} secret_key={k} region=... service=...`."""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Mapping

from ..._http.body import Body
from ..._http.request import Request
from ...exceptions import DoubleOError
from ..errors import StoreError
from .aws_signature import (
    ALGORITHM,
    Scope,
    canonical_headers,
    canonical_path,
    canonical_query,
    canonical_request,
    host_of,
    signature,
)
from .base import AUTHORIZATION, CredentialTools, with_header, without_headers
from .options import OptionsCredential
from .query import without_parameters
from .template import Template

_SHA256 = re.compile("[0-9a-f]{64}")
_UNSIGNED = "UNSIGNED-PAYLOAD"
_TRAILER = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
_TAKE_UNSIGNED = frozenset({"s3", "s3express", "s3-object-lambda", "s3-outposts"})
_DIGEST = "X-Amz-Content-Sha256"
# A caller's own signature, in headers and in the query.
_SIGNATURE_HEADERS = ("Authorization", "X-Amz-Date", "X-Amz-Security-Token", _DIGEST)
_SIGNATURE_PARAMETERS = tuple(
    f"X-Amz-{name}"
    for name in ("Algorithm", "Credential", "Date", "Expires", "SignedHeaders", "Signature", "Security-Token")
)
_KEY = re.compile("[!-~]+")
_PARTS = re.compile("[!-.0-~]+")  # no slash, which parts a credential


class SigV4Credential(OptionsCredential):
    """Signs the request as it is sent: host, content type, all of `X-Amz-*`, the query, and the body's digest. What a
    caller signed itself is removed.

    Of a body that flows, S3 takes the digest that the caller gave, or none (`UNSIGNED-PAYLOAD`). For other services the
    body is spooled.
    """

    kind = "sigv4"
    is_last = True
    required = "access_key secret_key region service"
    optional = "session_token"
    secret = "secret_key session_token"

    def __init__(self, options: Mapping[str, Template]) -> None:
        super().__init__(options)
        self.region, self.service = self.literal("region"), self.literal("service")
        if not re.fullmatch("[a-z0-9-]{1,64}", self.region) or not re.fullmatch("[a-z0-9._-]{1,64}", self.service):
            raise StoreError("region and service are names such as eu-west-1 and s3")
        self._is_s3 = self.service in _TAKE_UNSIGNED

    async def apply(self, request: Request, values: Mapping[str, str], tools: CredentialTools) -> Request:
        given = self._given(values)
        declared = request.headers.get(_DIGEST, "")
        request = _without_signature(request)
        body, digest = await self._digest(request.body, declared, tools)
        scope = Scope(time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(tools.now())), self.region, self.service)
        request = with_header(request.replace(body=body), "X-Amz-Date", scope.stamp)
        if self._is_s3 or declared:
            request = with_header(request, _DIGEST, digest)
        if "session_token" in given:
            request = with_header(request, "X-Amz-Security-Token", given["session_token"])
        headers = canonical_headers([("host", host_of(request.url)), *_to_be_signed(request)])
        path = canonical_path(request.url, is_s3=self._is_s3)
        query = request.url.partition("?")[2]
        canonical = canonical_request(request.method, path, query, headers, digest)
        made = signature(given["secret_key"], scope, canonical)
        tools.hide([made])  # of use to others for a quarter of an hour
        credential = f"Credential={given['access_key']}/{scope.text}"
        return with_header(
            request, "Authorization", f"{ALGORITHM} {credential}, SignedHeaders={headers.names}, Signature={made}"
        )

    @property
    def sets(self) -> str:
        return AUTHORIZATION

    def check(self, values: Mapping[str, str]) -> None:
        self._given(values)

    def _given(self, values: Mapping[str, str]) -> dict[str, str]:
        given = self.rendered(values)
        if not _PARTS.fullmatch(given["access_key"]) or not _KEY.fullmatch(given.get("session_token", "-")):
            raise DoubleOError("a value cannot be an access key or a session token", reason="argument")
        if not given["secret_key"].isascii():
            raise DoubleOError("a value cannot be a secret key", reason="argument")
        return given

    async def _digest(
        self, body: bytes | Body | None, declared: str, tools: CredentialTools
    ) -> tuple[bytes | Body | None, str]:
        """The body to be sent and its digest, or what stands for that."""
        if declared == _TRAILER and self._is_s3:
            return body, declared  # its checksum comes behind it, and is not signed
        if declared.startswith("STREAMING-"):
            raise DoubleOError("the caller signed its body in chunks, which cannot be signed anew", reason="argument")
        if not isinstance(body, Body):
            return body, hashlib.sha256(body or b"").hexdigest()
        if self._is_s3:
            return body, declared if _SHA256.fullmatch(declared) else _UNSIGNED
        if not body.replayable:
            body = await tools.spool(body)
        digest = hashlib.sha256()
        async for piece in body:
            digest.update(piece)
        return body, digest.hexdigest()


def _without_signature(request: Request) -> Request:
    """The request without what a caller signed, its query in the one spelling that signer and server agree on."""
    address, _, query = request.url.partition("?")
    names = _SIGNATURE_PARAMETERS
    if without_parameters(query, ["AWSAccessKeyId"]) != query:  # Signature Version 2, which S3 takes still
        names = (*names, "AWSAccessKeyId", "Signature", "Expires")
    query = canonical_query(without_parameters(query, names))
    return without_headers(request, _SIGNATURE_HEADERS).replace(url=f"{address}?{query}" if query else address)


def _to_be_signed(request: Request) -> list[tuple[str, str]]:
    return [
        (name, value)
        for name, value in request.headers.pairs()
        if name.lower() == "content-type" or name.lower().startswith("x-amz-")
    ]
