"""An upstream's TLS of a route's own, over real connections."""

from __future__ import annotations

import ssl
import stat
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

import oo
from oo.gateway import services, upstream_tls
from oo.gateway.errors import StoreError
from oo.gateway.models import Route
from oo.gateway.upstream_tls import context_of
from oo.testing import temporary_vault
from oo.transports.trust import Trust
from tests.support.certificates import Certificate, self_signed
from tests.support.chains import Chain
from tests.support.faults import FaultServer, serving
from tests.support.private_keys import ec_pem


class Own:
    """A certificate of one's own, as a route is given it."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir()
        self.made: Certificate = self_signed(directory, "127.0.0.1")
        self.pem = Path(self.made.file).read_text()
        self.key = Path(self.made.both).read_text().removeprefix(self.pem)


@pytest.fixture
def server(tmp_path: Path) -> Own:
    return Own(tmp_path / "server")


@pytest.fixture
def caller(tmp_path: Path) -> Own:
    return Own(tmp_path / "caller")


@pytest.fixture
async def chain() -> AsyncIterator[Chain]:
    async with temporary_vault() as vault, Chain(vault) as chain:
        yield chain


@pytest.fixture
def asking(server: Own, caller: Own) -> Iterator[FaultServer]:
    """An upstream that wants a certificate of the caller."""
    server.made.server.load_verify_locations(cadata=caller.pem)
    server.made.server.verify_mode = ssl.CERT_REQUIRED
    with serving(tls=server.made.server) as upstream:
        yield upstream


async def test_an_authority_of_its_own_is_trusted_by_that_route_alone(chain: Chain, server: Own, caller: Own) -> None:
    with serving(tls=server.made.server) as upstream:
        statuses = []
        for ca in (server.pem, None, caller.pem, server.pem):
            await chain.route(upstream.url, ca=ca)
            answer = await chain.call()
            statuses.append(answer.status)
            assert answer.status == 200 or "certificate is not trusted" in str(answer.json())
        assert statuses == [200, 502, 502, 200]


def test_it_stands_beside_the_public_authorities(server: Own) -> None:
    public = Trust().context.cert_store_stats()["x509_ca"]
    assert public > 20
    assert context_of(server.pem, None, None).cert_store_stats()["x509_ca"] == public + 1


async def test_a_certificate_is_shown_and_no_connection_shared_with_a_route_without(
    chain: Chain, server: Own, caller: Own, asking: FaultServer
) -> None:
    await chain.vault.put_secret("key", caller.key)
    statuses = []
    for shown in (True, False, True):
        files = {"cert": caller.pem, "key": "{key}"} if shown else {}
        await chain.route(asking.url, ca=server.pem, **files)
        statuses.append((await chain.call()).status)
    assert statuses == [200, 502, 200]


async def test_a_changed_key_is_used_from_the_next_call_on(
    chain: Chain, server: Own, caller: Own, asking: FaultServer
) -> None:
    await chain.vault.put_secret("key", ec_pem())
    await chain.route(asking.url, ca=server.pem, cert=caller.pem, key="{key}")
    answer = await chain.call()
    assert (answer.status, "its key is another's" in str(answer.json())) == (502, True)
    await chain.vault.put_secret("key", caller.key)
    assert (await chain.call()).status == 200
    first = chain.stack._end.upstream._tls._kept["r"][1]
    assert (await chain.call()).status == 200
    assert chain.stack._end.upstream._tls._kept["r"][1] is first  # it is made once


def test_a_private_key_lies_on_no_disk_in_clear(caller: Own, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    seen: list[tuple[str, int]] = []
    real = ssl.SSLContext.load_cert_chain

    def load(self: ssl.SSLContext, path: Any, *args: Any, **keywords: Any) -> None:
        seen.append((Path(path).read_text(), stat.S_IMODE(Path(path).stat().st_mode)))
        real(self, path, *args, **keywords)

    monkeypatch.setattr(ssl.SSLContext, "load_cert_chain", load)
    context_of(None, caller.pem, caller.key)
    [(text, mode)] = seen
    assert mode == 0o600
    assert "BEGIN ENCRYPTED PRIVATE KEY" in text
    assert caller.key.splitlines()[1] not in text
    assert list((tmp_path / "temporary").iterdir()) == []


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"ca": "no PEM"}, "no certificates in PEM"),
        ({"ca": ""}, "no certificates in PEM"),
        ({"cert": "{cert}"}, "go together"),
        ({"key": "{key}"}, "go together"),
        ({"cert": "no PEM", "key": "{key}"}, "none in PEM"),
        ({"cert": "{cert}", "key": "{other}"}, "its key is another's"),
        ({"cert": "{cert}", "key": "{text}"}, "no private key in PEM"),
        ({"cert": "{cert}", "key": "key"}, "in braces"),
        ({"cert": "{cert}", "key": "{key}{other}"}, "in braces"),
        ({"cert": "{both}", "key": "{key}"}, "keep that as a secret"),
    ],
)
async def test_files_that_cannot_be_used_are_refused_when_the_route_is_set(
    chain: Chain, caller: Own, fields: dict[str, str], said: str
) -> None:
    for name, value in {"key": caller.key, "other": ec_pem(), "text": "sk-canary-0123456789"}.items():
        await chain.vault.put_secret(name, value)
    files = {"{cert}": caller.pem, "{both}": caller.pem + caller.key}
    route = Route("r", "https://example.com", **{name: files.get(text, text) for name, text in fields.items()})
    with pytest.raises(StoreError) as caught:
        await services.put_route(chain.vault, route)
    assert said in str(caught.value) or "write {key} there" in str(caught.value)
    assert "canary" not in str(caught.value)


async def test_a_key_that_is_set_later_must_be_one(chain: Chain, caller: Own) -> None:
    await chain.vault.put_secret("key", caller.key)
    route = Route("r", "https://example.com", ca=caller.pem, cert=caller.pem, key="{key}")
    await services.put_route(chain.vault, route)
    with pytest.raises(StoreError, match="no private key"):
        await services.put_secret(chain.vault, "key", "sk-canary-0123456789")
    await services.put_secret(chain.vault, "key", ec_pem())  # its certificate comes next
    changed = await services.update_route(chain.vault, "r", {}, ["cert", "ca"])
    assert changed == ["ca: dropped", "cert: dropped", "key: dropped"]
    assert upstream_tls.check(Route("r", "https://example.com"), None) is None


async def test_a_missing_key_is_an_error_of_the_call(chain: Chain, caller: Own) -> None:
    with pytest.raises(oo.DoubleOError, match="no private key"):
        context_of(None, caller.pem, None)
