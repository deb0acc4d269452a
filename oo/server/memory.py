"""MemoryStore: everything in this process, gone with it."""

from __future__ import annotations

import secrets
from collections.abc import Mapping

from .store import Kind, Lease, Route, SecretRef, Variable
from .tokens import fingerprint, is_token, new_token


class MemoryStore:
    """A Store for tests and demonstrations."""

    def __init__(self) -> None:
        self._key = secrets.token_bytes(32)
        self._secrets: dict[str, str] = {}
        self._environments: dict[str, dict[str, Variable]] = {}
        self._routes: dict[str, Route] = {}
        self._tokens: dict[bytes, Lease] = {}

    async def redeem(self, token: str, kind: Kind) -> Lease | None:
        # The table is keyed by a keyed hash, so how long a look-up takes tells nothing of a token.
        lease = self._tokens.get(fingerprint(self._key, token)) if is_token(token) else None
        return lease if lease is not None and lease.kind == kind else None

    async def secret(self, name: str) -> str | None:
        return self._secrets.get(name)

    async def environment(self, name: str) -> dict[str, str] | None:
        variables = self._environments.get(name)
        if variables is None:
            return None
        return {
            key: self._secrets[value.name] if isinstance(value, SecretRef) else value
            for key, value in variables.items()
        }

    async def route(self, name: str) -> Route | None:
        return self._routes.get(name)

    async def put_secret(self, name: str, value: str) -> None:
        self._secrets[name] = value

    async def put_environment(self, name: str, variables: Mapping[str, Variable]) -> None:
        self._environments[name] = dict(variables)

    async def put_route(self, route: Route) -> None:
        self._routes[route.name] = route

    async def issue(self, kind: Kind, name: str) -> str:
        token = new_token()
        self._tokens[fingerprint(self._key, token)] = Lease(secrets.token_hex(6), kind, name)
        return token
