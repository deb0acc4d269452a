"""What makes a program that takes no base URL call by a gateway: its forward proxy, and whom to trust. No I/O."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import urlsplit

from .._core.errors import check_status
from .._http.headers import Headers
from .._http.request import Request
from .._http.response import MAX_ANSWER, Response
from .operations import USER_AGENT, ClientContext, RequestFactory, check_token
from .unsafe_names import is_unsafe

PLACEHOLDER = "placeholder-of-double-o"
"""What stands where a program wants a key to start. It opens nothing."""

_USER = "oo"
_PEM = re.compile(r"-----BEGIN CERTIFICATE-----\s.+?\s-----END CERTIFICATE-----", re.DOTALL)
_TRUSTED_BY_WGET = re.compile(r"\s*ca[-_]?certificate\s*=", re.IGNORECASE)
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_AUTHORITY = re.compile(rb"Double-O [0-9a-f]{16}")  # the name of a gateway's, of which each key has another
_PROXIES = ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy")
_DIRECT = "localhost,127.0.0.1,::1"
_BUNDLES = (
    "SSL_CERT_FILE",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "GIT_SSL_CAINFO",
    "PIP_CERT",
    "AWS_CA_BUNDLE",
    "npm_config_cafile",
    "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH",
    "CARGO_HTTP_CAINFO",
    "CLOUDSDK_CORE_CUSTOM_CA_CERTS_FILE",
    "NIX_SSL_CERT_FILE",
)
_EXTRAS = ("NODE_EXTRA_CA_CERTS", "DENO_CERT")
OWN_BUNDLES = (*_BUNDLES, *_EXTRAS)
"""The variables in which a user may have named authorities of their own."""
REMOVED = (
    "OO_TOKEN",
    "ALL_PROXY",
    "all_proxy",
    "SSL_CERT_DIR",
    "GIT_SSL_NO_VERIFY",
    "NODE_TLS_REJECT_UNAUTHORIZED",
    "GIT_PROXY_SSL_CAINFO",
)
"""The variables that would lead past the proxy or past its certificates."""


class Files(NamedTuple):
    """The paths of what a program reads: all authorities, the gateway's and the user's beside it, wget's settings."""

    bundle: str
    extra: str
    wgetrc: str


def authority(factory: RequestFactory, token: str) -> Request:
    """GET /ca.pem: the certificates that the holder of a token has to trust."""
    check_token("proxy", token)
    return Request(
        "GET",
        f"{factory.base_url}/ca.pem",
        Headers([USER_AGENT, ("Accept", "application/x-pem-file, application/json")]),
        base_url=factory.base_url,
        timeout=factory.timeout,
        max_body_bytes=MAX_ANSWER,
        context=ClientContext("proxy", _certificates, token),
    )


def proxy_url(base_url: str, token: str, place: str = "") -> str:
    """The URL of a gateway as a forward proxy, with the token as its password; of a forwarder to it where `place` is
    its host and port."""
    parts = urlsplit(base_url)
    return f"http://{_USER}:{token}@{place}" if place else f"{parts.scheme}://{_USER}:{token}@{parts.netloc}"


def needs_forwarder(base_url: str) -> bool:
    """Whether most programs cannot speak to a gateway as their proxy: over TLS, or at a Unix socket."""
    return not base_url.startswith("http:")


def variables(proxy: str, files: Files, placeholders: tuple[str, ...] = ()) -> dict[str, str]:
    """What a program's environment has to hold."""
    found = dict.fromkeys(_PROXIES, proxy)
    found |= dict.fromkeys(("NO_PROXY", "no_proxy"), _DIRECT)
    found["NODE_USE_ENV_PROXY"] = "1"
    found |= dict.fromkeys(_BUNDLES, files.bundle)
    found |= dict.fromkeys(_EXTRAS, files.extra)
    found["WGETRC"] = files.wgetrc
    return found | dict.fromkeys(placeholders, PLACEHOLDER)


def takes_placeholder(name: str) -> bool:
    """Whether a variable may have PLACEHOLDER: it has a name, and steers no program."""
    own = variables("", Files("", "", ""))
    return _VARIABLE.fullmatch(name) is not None and name not in own and not is_unsafe(name)


def joined(*texts: str) -> str:
    """The certificates in some texts in PEM, each once, in their order."""
    return "".join(f"{each}\n" for each in dict.fromkeys(found for text in texts for found in certificates(text)))


def others(text: str) -> str:
    """The certificates in a text, but for those of gateways: an earlier one of the same authority would be found first,
    and is constrained to the routes that there were."""
    return joined(*(each for each in certificates(text) if not _AUTHORITY.search(_der(each))))


def certificates(text: str) -> list[str]:
    """The certificates in a text in PEM, with its lines as they are."""
    return ["\n".join(found.split("\r\n")) for found in _PEM.findall(text)]


def wgetrc(own: str, bundle: str) -> str:
    """The settings of wget: a user's own, and whom it trusts."""
    lines = [line for line in own.splitlines() if not _TRUSTED_BY_WGET.match(line)]
    return "".join(f"{line}\n" for line in (*lines, f"ca_certificate = {bundle}"))


def inherited(environ: Mapping[str, str]) -> dict[str, str]:
    """What a program keeps of an environment."""
    return {name: value for name, value in environ.items() if name not in REMOVED}


def _der(pem: str) -> bytes:
    try:
        return base64.b64decode("".join(pem.split("\n")[1:-1]))
    except ValueError:
        return b""  # it is none, which whoever reads it says


def _certificates(response: Response) -> str:
    check_status(response)
    return response.body.decode("ascii", "replace")
