from __future__ import annotations

import subprocess
import sys

import pytest

from oo._http.headers import Headers
from oo._http.request import Request
from oo._http.response import Response
from oo.gateway.authority_keeping import rotate_authority
from oo.gateway.context import GatewayContext
from oo.gateway.destinations import Destination
from oo.gateway.entrance import Entrance
from oo.gateway.errors import GatewayError, NoToken, Unauthorized
from oo.gateway.models import Route
from oo.gateway.reach import NoRoute
from oo.gateway.vault import Vault


class Beyond:
    """Records what is sent elsewhere."""

    def __init__(self) -> None:
        self.sent: list[Request] = []
        self.closed = False

    async def send(self, request: Request) -> Response:
        self.sent.append(request)
        return Response(200, request=request)

    async def close(self) -> None:
        self.closed = True


def connect(*tokens: str, host: str = "a.test") -> Request:
    context = GatewayContext()
    context.endpoint, context.destination = "tunnel", Destination("https", host, 443, tokens)
    return Request("CONNECT", f"{host}:443", context=context)


@pytest.fixture
async def token(vault: Vault) -> str:
    await vault.put_route(Route("a", "https://a.test"))
    await vault.put_route(Route("b", "https://b.test"))
    await vault.put_bundle("all", ["a", "b"])
    return await vault.issue("route", "a", uses=1)


async def test_a_tunnel_is_ended_here_and_costs_nothing(vault: Vault, token: str) -> None:
    request = connect(token)
    entrance = Entrance(vault)
    for _ in range(3):
        assert (await entrance.send(request)).status == 200
    context = request.context
    assert isinstance(context, GatewayContext)
    assert context.tunnel is not None
    assert (context.target, context.kind, context.token) == ("a", "route", token)
    [known] = [each for each in await vault.tokens() if each.id == context.token_id]
    assert known.used == 0
    await entrance.close()


async def test_elsewhere_is_refused_unless_something_leads_there(vault: Vault, token: str) -> None:
    with pytest.raises(NoRoute):
        await Entrance(vault).send(connect(token, host="c.test"))
    beyond = Beyond()
    entrance = Entrance(vault, beyond)
    await entrance.send(connect(token, host="c.test"))
    with pytest.raises(GatewayError, match="no token that is known"):
        await entrance.send(connect("oo_no", host="c.test"))
    await entrance.close()
    assert (len(beyond.sent), beyond.closed) == (1, True)


async def test_a_connect_without_a_place_is_malformed(vault: Vault) -> None:
    request = Request("CONNECT", "x", context=GatewayContext())
    with pytest.raises(GatewayError, match="a host and a port"):
        await Entrance(vault).send(request)


def asking(shown: str) -> Request:
    context = GatewayContext()
    context.endpoint = "authority"
    return Request("GET", "/ca.pem", Headers([("Authorization", shown)] if shown else []), context=context)


async def test_the_certificates_are_for_the_hosts_of_the_tokens(vault: Vault, token: str) -> None:
    bundle = await vault.issue("bundle", "all")
    entrance = Entrance(vault)
    answer = await entrance.send(asking(f"Bearer {token}"))
    assert answer.headers["Content-Type"] == "application/x-pem-file"
    assert answer.body.count(b"BEGIN CERTIFICATE") == 1
    await rotate_authority(vault)
    answer = await entrance.send(asking(f"Bearer oo_no,{bundle},{token}"))
    assert answer.body.count(b"BEGIN CERTIFICATE") == 2
    with pytest.raises(NoToken):
        await entrance.send(asking(""))
    for wrong in ("Basic", "Bearer oo_no", f"Bearer {await vault.issue('secret', 'a')}"):
        with pytest.raises(Unauthorized):
            await entrance.send(asking(wrong))


def test_a_gateway_without_a_tunnel_imports_nothing_that_makes_certificates() -> None:
    script = "import sys, oo.gateway.process; print(sorted(name for name in sys.modules if 'x509' in name))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
