from __future__ import annotations

import asyncio
import os
import ssl
import tempfile
import time
from pathlib import Path

import pytest

from oo.gateway import leaves
from oo.gateway.authority import ca_certificate, new_key
from oo.gateway.leaves import Leaves
from oo.gateway.models import AuthorityKey

KEY = AuthorityKey(new_key(), 0)


def handshake(server: ssl.SSLContext, trusted: str, name: str | None, minimum: str = "") -> str | None:
    """The protocol that a client who trusts a certificate has chosen; its error is raised."""
    client = ssl.create_default_context(cadata=trusted)
    client.check_hostname = name is not None
    client.set_alpn_protocols(["h2", "http/1.1"])
    client.verify_flags |= ssl.VERIFY_X509_STRICT
    ends = [ssl.MemoryBIO() for _ in range(2)]
    near = client.wrap_bio(ends[0], ends[1], server_hostname=name)
    far = server.wrap_bio(ends[1], ends[0], server_side=True)
    failure = None
    for _ in range(4):
        for end in (near, far):
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                pass
            except ssl.SSLError as error:
                if end is near:
                    raise
                failure = error
    assert failure is None or name is None
    return near.selected_alpn_protocol()


async def test_a_context_is_kept_for_its_host_and_key() -> None:
    made = Leaves()
    first, again = await asyncio.gather(made.context(KEY, "a.test"), made.context(KEY, "a.test"))
    assert first is again is await made.context(KEY, "a.test")
    assert await made.context(KEY, "b.test") is not first
    assert await made.context(AuthorityKey(new_key(), 0), "a.test") is not first


async def test_no_more_than_so_many_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leaves, "_HOSTS", 2)
    made = Leaves()
    first = await made.context(KEY, "h0.test")
    for number in (1, 2):
        await made.context(KEY, f"h{number}.test")
    assert await made.context(KEY, "h0.test") is not first


async def test_one_expires_before_its_certificate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leaves, "LEAF_LIFE", 0.2)
    made = Leaves()
    first = await made.context(KEY, "a.test")
    await asyncio.sleep(0.15)
    assert await made.context(KEY, "a.test") is not first


@pytest.mark.parametrize("host", ["a.test", "127.0.0.1", "::1"])
async def test_a_client_takes_it_strictly(host: str) -> None:
    context = await Leaves().context(KEY, host)
    trusted = ca_certificate(KEY, [host], time.time())
    assert handshake(context, trusted, host) == "http/1.1"
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2


async def test_a_leaf_outside_the_constraints_is_refused() -> None:
    made = Leaves()
    trusted = ca_certificate(KEY, ["a.test"], time.time())
    for host in ("b.test", "xa.test", "127.0.0.1", "::1"):
        with pytest.raises(
            ssl.SSLCertVerificationError, match=r"permitted subtree violation|excluded subtree violation"
        ):
            handshake(await made.context(KEY, host), trusted, host)


async def test_one_of_another_key_is_refused() -> None:
    other = ca_certificate(AuthorityKey(new_key(), 0), ["a.test"], time.time())
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(await Leaves().context(KEY, "a.test"), other, "a.test")


async def test_another_name_is_an_alert() -> None:
    with pytest.raises(ssl.SSLError, match="UNRECOGNIZED_NAME"):
        handshake(await Leaves().context(KEY, "a.test"), ca_certificate(KEY, ["a.test"], time.time()), "b.test")


async def test_nothing_is_left_in_files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    seen: list[bytes] = []
    real = os.unlink

    def unlink(path: str) -> None:
        seen.append(Path(path).read_bytes())
        real(path)

    monkeypatch.setattr(os, "unlink", unlink)
    await Leaves().context(KEY, "a.test")
    assert list(tmp_path.iterdir()) == []
    assert b"ENCRYPTED" in seen[0]


async def test_one_that_fails_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    made = Leaves()
    with pytest.raises(ValueError, match="PEM"):
        await made.context(AuthorityKey("none", 0), "a.test")
    assert made._flights == {}
