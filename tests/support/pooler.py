"""A real PgBouncer before an engine: each transaction has whichever connection is free."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from tests.support.postgres import answers, free_port
from tests.support.processes import until

BINARY = os.environ.get("OO_TEST_PGBOUNCER") or shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")
_USER = "nobody"  # it refuses root
_SETTINGS = """
[databases]
* = host=127.0.0.1 port={to}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = {size}
max_client_conn = 200
"""


@contextmanager
def pooling(url: str, folder: Path, size: int = 4) -> Iterator[str]:
    """The URL of a database behind a pooler in transaction mode, with so many connections to it."""
    assert BINARY is not None
    parts, port = urlsplit(url), free_port()
    settings = folder / "pgbouncer.ini"
    databases = _SETTINGS.replace("* =", f"{parts.path[1:]} = user={parts.username}")
    settings.write_text(databases.format(to=parts.port, port=port, size=size))
    as_user = ["-u", _USER] if os.geteuid() == 0 else []
    if as_user:
        os.chown(settings, pwd.getpwnam(_USER).pw_uid, -1)
    pooled = urlunsplit(parts._replace(netloc=f"{parts.username}@127.0.0.1:{port}"))

    def is_up() -> bool:
        assert process.poll() is None, (folder / "log").read_text()
        return answers(pooled)

    with open(folder / "log", "wb") as log:
        process = subprocess.Popen([BINARY, *as_user, str(settings)], stdout=log, stderr=log)
    try:
        until(is_up)
        yield pooled
    finally:
        process.terminate()
        process.wait(30)
