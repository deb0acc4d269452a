from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from oo._http.json import MAX_ANSWER
from oo.gateway.errors import StoreError
from oo.gateway.vault import Vault
from tests.support.processes import Home
from tests.support.vaults import CANARY
from tests.support.waiting import PATIENCE


async def test_a_write_that_fails_is_told_and_the_next_one_goes_on(vault: Vault) -> None:
    vault._database.writer.execute("PRAGMA max_page_count = 1")  # as full as a disk can be
    with pytest.raises(StoreError, match=r"vault\.db failed: database or disk is full"):
        await vault.put_secret("a", "x" * (MAX_ANSWER // 2))
    assert await vault.secret("a") == f"{CANARY} a 2"
    vault._database.writer.execute("PRAGMA max_page_count = 1000000")
    assert await vault.put_secret("a", "fits") == 3
    assert await vault.secret("a") == "fits"


WRITES = """
import asyncio, sys
from pathlib import Path
from oo.gateway.vault import Vault

async def main():
    async with Vault(Path(sys.argv[1])) as vault:
        for n in range(int(sys.argv[4])):
            version = await vault.put_secret(sys.argv[2] if n % 2 else f"{sys.argv[3]}-{n}", f"{sys.argv[3]} {n}")
            print(n, version, flush=True)

asyncio.run(main())
"""


def writing(home: Home, shared: str, own: str, count: int) -> subprocess.Popen[str]:
    """A process that writes secrets, and prints each that was acknowledged."""
    command = [sys.executable, "-c", WRITES, str(home.path), shared, own, str(count)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=home.environ)


def assert_kept(home: Home, shared: str, own: str, acknowledged: list[str]) -> None:
    async def check(vault: Vault) -> None:
        for line in acknowledged:
            n, version = map(int, line.split())
            if n % 2:
                assert json.loads(vault._database.records.read("secret", shared, version))["value"] == f"{own} {n}"
            else:
                assert await vault.secret(f"{own}-{n}") == f"{own} {n}"

    home.run(check)


@pytest.mark.parametrize("after", [1, 67, 133])
def test_no_acknowledged_write_is_lost_when_a_writer_is_killed(tmp_path: Path, after: int) -> None:
    home = Home(tmp_path / "home").made()
    process = writing(home, "shared", "w", 200)
    assert process.stdout is not None
    lines = [process.stdout.readline() for _ in range(after)]
    process.kill()
    # What it had said before it died counts too.
    lines += [line for line in process.stdout if line.endswith("\n")]
    process.stdout.close()
    assert process.wait() == -9
    assert after <= len(lines) < 200
    assert (home.path / "vault.db-wal").exists()
    assert_kept(home, "shared", "w", lines)
    assert home.secret("shared", "goes on") >= len(lines) // 2 + 1


def test_two_processes_write_at_once_and_neither_loses(tmp_path: Path) -> None:
    home = Home(tmp_path / "home").made()
    writers = {own: writing(home, "shared", own, 60) for own in ("one", "other")}
    versions: list[str] = []
    for own, process in writers.items():
        said, _ = process.communicate(timeout=PATIENCE)
        assert process.returncode == 0
        assert len(said.splitlines()) == 60
        assert_kept(home, "shared", own, said.splitlines())
        versions += [line.split()[1] for line in said.splitlines()[1::2]]
    assert sorted(map(int, versions)) == list(range(1, 61))
