from __future__ import annotations

import pytest

from oo.gateway.authority_keeping import authority_certificates, rotate_authority
from oo.gateway.errors import StoreError
from oo.gateway.models import Route
from oo.gateway.vault import Vault


async def test_the_key_is_made_once_and_rotated(vault: Vault) -> None:
    [first] = await vault.authority()
    assert await vault.authority() == (first,)
    following = await rotate_authority(vault)
    assert await vault.authority() == (first, following)
    with pytest.raises(StoreError, match="there already"):
        await rotate_authority(vault)
    alone = await rotate_authority(vault, at_once=True)
    assert await vault.authority() == (alone,)


async def test_its_certificates_are_for_the_routes_that_are_named(vault: Vault) -> None:
    await vault.put_route(Route("r", "https://r.test"))
    await rotate_authority(vault)
    pem = await authority_certificates(vault, ["r"])
    assert pem.count("BEGIN CERTIFICATE") == 2
    with pytest.raises(StoreError, match="no route"):
        await authority_certificates(vault, ["s"])
