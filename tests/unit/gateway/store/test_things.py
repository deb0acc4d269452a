from __future__ import annotations

import pytest

from oo._http.response import MAX_ANSWER
from oo.gateway.errors import StoreError
from oo.gateway.models import Route, SecretRef
from oo.gateway.store import things
from oo.gateway.vault import Vault
from tests.support.vaults import CANARY


async def test_what_was_put_is_read_as_it_was_put(vault: Vault) -> None:
    read = vault._look
    assert await read(lambda records: things.variables(records, "env-a")) == {
        "S": SecretRef("a"),
        "L": f"{CANARY} literal a",
    }
    assert await read(lambda records: things.variables(records, "none")) is None
    assert await read(lambda records: things.route(records, "none")) is None
    route = Route("r", "http://x.example", {"X-A": "{a}"}, allow=("GET /x",), pass_headers=("Range",))
    await vault._change(lambda records: things.put_route(records, route))
    assert await read(lambda records: things.route(records, "r")) == route
    assert await read(lambda records: things.names(records, "secret")) == ["a", "b"]
    assert await read(lambda records: things.names(records, "route")) == ["r", "route-a", "route-b"]


async def test_a_secret_that_is_needed_is_not_removed(vault: Vault) -> None:
    assert await vault._look(lambda records: things.referrers(records, "a")) == [
        "the environment 'env-a'",
        "the route 'route-a'",
    ]
    with pytest.raises(StoreError, match="is needed by the environment 'env-a', the route 'route-a'"):
        await vault.remove("secret", "a")
    with pytest.raises(StoreError, match="there is no env 'none'"):
        await vault.remove("env", "none")


async def test_what_needs_a_secret_that_is_not_there_is_not_put(vault: Vault) -> None:
    with pytest.raises(StoreError, match="there is no secret 'none'"):
        await vault.put_environment("e", {"S": SecretRef("none")})
    assert await vault.variables("e") is None


def test_what_no_client_takes_is_not_put() -> None:
    things.check_size({"a": "x" * 1000})
    with pytest.raises(StoreError, match="more than a client takes"):
        things.check_size({"a": "x" * MAX_ANSWER})
