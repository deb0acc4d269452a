"""What an owner does with the certificate authority of a store."""

from __future__ import annotations

import time
from collections.abc import Collection

from .authority import ca_certificate, rotated, trusted
from .destinations import hosts_of
from .models import AuthorityKey
from .services import require
from .store.base import Keeper


async def rotate_authority(vault: Keeper, *, at_once: bool = False) -> AuthorityKey:
    """Make a next key, or one that replaces the others at once. Returns it."""
    keys = rotated(await vault.authority(), time.time(), at_once=at_once)
    await vault.put_authority(keys)
    return keys[-1]


async def authority_certificates(vault: Keeper, names: Collection[str]) -> str:
    """What has to be trusted to call some routes, in PEM. StoreError for a route that is not there."""
    routes = []
    for name in names:
        await require(vault, "route", name)
        route = await vault.route(name)
        routes += [] if route is None else [route]
    now = time.time()
    return "".join(ca_certificate(key, hosts_of(routes), now) for key in trusted(await vault.authority(), now))
