"""The import of aiohttp into a gateway without plugins."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.support.certificates import self_signed
from tests.support.waiting import PATIENCE

SCRIPT = """
import ssl
from oo.gateway.http_server._aiohttp_import import import_for_us_alone
import_for_us_alone()
from aiohttp import connector
from oo.transports.trust import Trust
for context in connector._SSL_CONTEXT_VERIFIED, ssl.create_default_context(), Trust().context:
    print(len(context.get_ca_certs()), context.verify_mode.name, context.check_hostname)
"""


def test_aiohttp_s_own_contexts_trust_nobody_and_all_others_whom_they_should(tmp_path: Path) -> None:
    env = {**os.environ, "SSL_CERT_FILE": self_signed(tmp_path, "127.0.0.1").file, "SSL_CERT_DIR": ""}
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        env.pop(name, None)
    command = [sys.executable, "-c", SCRIPT]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=env, timeout=PATIENCE)
    assert done.stdout.splitlines() == ["0 CERT_REQUIRED True", "1 CERT_REQUIRED True", "1 CERT_REQUIRED True"]


UNUSED = """
import sys
from oo.gateway.http_server._aiohttp_import import _UNUSED, import_for_us_alone
import_for_us_alone()
assert "aiohttp.web" not in sys.modules
print([name for name in _UNUSED if name in sys.modules])
import bz2, brotli, lzma, pickle, frozenlist
from oo.transports.codings import inflater
print(pickle.loads(pickle.dumps(bz2.decompress(bz2.compress(lzma.decompress(lzma.compress(b"whole")))))))
print(frozenlist.FrozenList([1]), inflater("br", b"").step(brotli.compress(b"undone"))[0])
"""


def test_what_aiohttp_did_without_is_there_for_whoever_asks_for_it() -> None:
    command = [sys.executable, "-c", UNUSED]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=PATIENCE)
    assert done.stdout.splitlines() == ["[]", "b'whole'", "<FrozenList(frozen=False, [1])> b'undone'"]
