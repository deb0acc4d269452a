"""Which of a caller's headers go up to an upstream: one decision a name. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

# RFC 9110, 7.6.1, and what older agents send as well.
HOP_BY_HOP = frozenset(
    "connection http2-settings keep-alive proxy-authenticate proxy-authorization proxy-connection te trailer "
    "transfer-encoding upgrade".split()
)

KEPT_BACK = HOP_BY_HOP | frozenset(
    (
        # How a body is sent, and what has an answer come in a form that the mask cannot read (RFC 3229; a charset).
        "a-im accept-charset accept-encoding content-length expect request-range x-ms-range "
        # The caller's own credentials.
        "api-key apikey authorization cookie cookie2 deploy-token job-token private-token x-access-token x-api-key "
        "x-authorization x-goog-api-key x-vault-token "
        # Where a call comes from and where it goes. `Proxy` is taken for a proxy's address by CGI (httpoxy).
        "base-url cdn-src-ip front-end-https host proxy via x-base-url x-custom-ip-authorization x-forward-for x-host "
        "x-nf-client-connection-ip x-originating-ip x-proxyuser-ip x-scheme x-sucuri-clientip x-url-scheme "
        # Another method than the request's own.
        "http-method http-verb x-http-method x-http-override x-http-verb x-method "
        # Who a proxy says that the caller is.
        "auth-user authenticated-user client-cert client-cert-chain eppn gap-auth path-info proxy-user script-name "
        "user x-anonymous-consumer x-apigateway-api-userinfo x-credential-identifier x-credential-username x-email "
        "x-endpoint-api-userinfo x-group x-groups x-hasura-role x-id-token x-jwt-assertion x-krb-user x-ldap-user "
        "x-role x-roles x-saml-user x-user x-user-email x-user-groups x-user-id x-user-name x-user-role "
        "x-user-roles x-userinfo x-username x-verified-user"
    ).split()
)
"""Headers that do not go up, unless the route passes them on."""

FAMILIES = tuple(
    (
        # What a proxy in front of a server sets, and the server believes.
        "ali-cdn-real- cdn-real- oidc-claim- shib- x-amzn-mtls- "
        "cf-access- cf-connecting- impersonate- proxy-client- remote- ssl- tailscale- wl-proxy- x-amzn-oidc- "
        "x-appengine- x-arr- x-auth- x-authenticated- x-authentik- x-azure-clientip x-azure-socketip x-client- "
        "x-consumer- x-envoy- x-forwarded- x-goog-authenticated- x-goog-iap- x-impersonate- x-ms-client-principal "
        "x-ms-token- x-original- x-pomerium- x-proxy- x-real- x-remote- x-rewrite- x-spiffe- x-ssl- x-tls- x-vouch- "
        "x-webauth- x-oo- "
        # What the parts of a server tell one another: Rack's, nginx's, Next.js's.
        "x-accel- x-middleware- x-sendfile-"
    ).split()
)
"""Beginnings of the names of such headers."""

_WORDS = re.compile(
    "(?:^|-)(?:"
    "forwarded|remote-(?:addr|email|groups?|host|ident|ip|name|port|user)|(?:client|connecting|real|source)-ip"
    "|(?:host|http|method|path|scheme|uri|url|verb)-(?:[a-z0-9]+-)?override|override-(?:host|method|path|uri|url|verb)"
    ")(?:-|$)"
)
"""Words that say as much wherever they stand in the name."""

_OTHER = re.compile("[^a-z0-9]")
_MOST = 64  # rows of names that a route remembers


DROP, CODINGS, HOP, PASS, RANGE = range(5)
"""What is done with a header of a caller's. PASS and RANGE go up, RANGE to ask for a part of the answer. The others are
kept back; CODINGS says which codings the caller takes, HOP names other headers that are kept back."""


class Verdicts(NamedTuple):
    """What is done with the headers of a call, by their places: those that go up, those that say which codings the
    caller takes; whether one names others that are kept back, and whether one asks for a part of the answer."""

    passed: tuple[int, ...]
    codings: tuple[int, ...]
    names_hops: bool
    asks_for_range: bool


class HeaderRules:
    """A route's rules for its callers' headers."""

    def __init__(self, passed: Iterable[str], dropped: Iterable[str]) -> None:
        """`passed` and `dropped` are a route's own words on some headers, `dropped` before all else."""
        self._passed = frozenset(map(plain, passed))
        self._dropped = frozenset(map(plain, dropped))
        self._kept: dict[tuple[str, ...], Verdicts] = {}

    def judge(self, names: tuple[str, ...]) -> Verdicts:
        """What is done with headers of such names, as they were written. Most calls of a route have the same, so what
        was found last is kept."""
        found = self._kept.get(names)
        if found is None:
            verdicts = [self.verdict(name) for name in names]
            passed = tuple(index for index, verdict in enumerate(verdicts) if verdict >= PASS)
            codings = tuple(index for index, verdict in enumerate(verdicts) if verdict == CODINGS)
            found = Verdicts(passed, codings, HOP in verdicts, RANGE in verdicts)
            if len(self._kept) >= _MOST:  # callers could send ever more names
                self._kept.clear()
            self._kept[names] = found
        return found

    def verdict(self, name: str) -> int:
        """What is done with a header, however its name is written."""
        name = plain(name)
        if name == "connection":
            return HOP
        if name in self._dropped:
            return DROP
        if name == "accept-encoding":
            return CODINGS
        if name not in self._passed and is_kept_back(name):
            return DROP
        return RANGE if name == "range" else PASS


def is_kept_back(name: str) -> bool:
    """Whether a header does not go up unless its route says so. `name` is `plain`."""
    return name in KEPT_BACK or name.startswith(FAMILIES) or _WORDS.search(name) is not None


@lru_cache(512)  # most calls use the same names
def plain(name: str) -> str:
    """A header's name as the loosest reader has it. CGI and WSGI read X_Key and X-Key as the same (RFC 3875, 4.1.18),
    and some servers X.Key too."""
    return _OTHER.sub("-", name.lower())
