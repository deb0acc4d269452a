"""Whoever steals the authority's key deceives nobody about another host: programs refuse what it signs there."""

from __future__ import annotations

import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from oo.gateway.authority import ca_certificate, leaf_certificate, new_key
from oo.gateway.models import AuthorityKey
from oo.testing import BackgroundLoop
from tests.support.private_hosts import OpenAIOverTLS

from .test_clients import node

KEY = AuthorityKey(new_key(), 0)


class Thief(OpenAIOverTLS):
    """Shows the certificate of an address on loopback, signed with the stolen key."""

    def __init__(self, directory: Path, host: str) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        file = directory / "stolen"
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        file.write_bytes(leaf_certificate(KEY, host, key.public_key(), time.time()).encode() + private)
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(file)
        super().__init__(tls, host)


@pytest.fixture(params=["127.0.0.1", "localhost"])
def thief(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Thief]:
    with BackgroundLoop() as background:
        yield background.enter(Thief(tmp_path, request.param))


def commands(url: str, ca: str) -> dict[str, list[str]]:
    found = {
        "curl": ["curl", "-sS", "--cacert", ca, "--capath", "/nonexistent", f"{url}/v1/models"],
        "git": ["git", "-c", f"http.sslCAInfo={ca}", "ls-remote", f"{url}/r.git"],
        "python": [
            *(sys.executable, "-c"),
            f"import urllib.request as u, ssl; c = ssl.create_default_context(cafile={ca!r});"
            f"print(u.urlopen('{url}/v1/models', context=c).read())",
        ],
    }
    if (program := node()) is not None:
        found["node"] = [program, "-e", f"fetch('{url}/v1/models').then(r => r.text()).then(console.log)"]
    return found


@pytest.mark.parametrize("client", ["curl", "git", "python", "node"])
def test_a_leaf_outside_the_constraint_is_refused(client: str, thief: Thief, tmp_path: Path) -> None:
    found = {}
    for name, hosts in (("fits", [thief.host]), ("another", ["api.test"])):
        ca = tmp_path / f"{name}.pem"
        ca.write_text(ca_certificate(KEY, hosts, time.time()))
        command = commands(thief.url, str(ca)).get(client)
        if command is None:
            pytest.skip(f"there is no {client} here")
        env = {"PATH": "/usr/bin:/bin", "NODE_EXTRA_CA_CERTS": str(ca), "HOME": str(tmp_path)}
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=env, stdin=subprocess.DEVNULL)
        found[name] = (bool(thief.seen), done.stderr)
        thief.seen.clear()
    assert found["fits"][0], found
    assert not found["another"][0], found
