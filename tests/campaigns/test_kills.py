"""kill -9 of a worker, of the whole server and of a writing command, over and over while all of them write: what was
acknowledged is there afterwards, and no token was good for more than its uses.

A few kills in the suite; `OO_KILLS=200 pytest -n 0 -s tests/campaigns/test_kills.py` for a campaign.
"""

from __future__ import annotations

import http.client
import json
import os
import random
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from itertools import count
from pathlib import Path

import pytest

from oo.gateway.models import Denial, Grant, Route
from oo.gateway.paths import VAULT_FILE
from oo.gateway.vault import Vault
from tests.support.faults import answer, serving
from tests.support.processes import Home, Serving, get, kill, needs_proc, until
from tests.support.waiting import PATIENCE

pytestmark = pytest.mark.campaign

KILLS = int(os.environ.get("OO_KILLS", "3"))
USES = 40

WRITES = """
import asyncio, sys
from pathlib import Path
from oo.gateway.vault import Vault

async def main():
    home, own = Path(sys.argv[1]), sys.argv[2]
    n = 0
    async with Vault(home) as vault:
        while True:
            n += 1
            print("version", await vault.put_secret("shared", f"{own} {n}"), own, n, flush=True)
            token = await vault.issue("secret", "a", label=own)
            print("issued", token, flush=True)
            if n % 2:
                await vault.revoke((await vault.consume(token, "secret")).token_id)
                print("revoked", token, flush=True)
            await asyncio.sleep(0.01)

asyncio.run(main())
"""


class Lab:
    """A server with two workers, a process that writes to its vault, callers; and what each was told is done."""

    def __init__(self, home: Home, route: str, calls: Counter[str]) -> None:
        self.home = home
        self.route = route
        self.calls = calls
        self.versions: dict[int, str] = {}
        self.issued: set[str] = set()
        self.revoked: set[str] = set()
        self.granted: Counter[str] = Counter()
        self.results: dict[str, int] = {}
        self.open: set[str] = set()
        self.wrong: list[object] = []
        self.server: Serving | None = None
        self.writer: subprocess.Popen[str] | None = None
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._counted: list[str] = []
        self._writers = 0
        self._running = ExitStack()

    def restart(self) -> None:
        """Start the server; whichever ran was killed."""
        self._running.close()
        self.server = self._running.enter_context(self.home.serve("--workers", "2"))

    def kill_server(self) -> None:
        assert self.server is not None
        for process in (self.server.process.pid, *self.server.workers()):
            kill(process)
        self.server.process.wait()

    def kill_worker(self, chance: random.Random) -> None:
        assert self.server is not None
        kill(chance.choice(self.server.workers()))

    def kill_writer(self) -> None:
        assert self.writer is not None
        kill(self.writer.pid)
        self._taking.join(PATIENCE)

    def acknowledged(self) -> tuple[int, ...]:
        """How much there is of each kind."""
        return len(self.versions), len(self.results), sum(self.granted.values())

    def __enter__(self) -> Lab:
        self.restart()
        self.more()
        self.write()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill_writer()
        self._running.close()

    def write(self) -> None:
        """Start a writer, and a thread that takes down what it acknowledges."""
        self._writers += 1
        command = [sys.executable, "-c", WRITES, str(self.home.path), f"w{self._writers}"]
        self.writer = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=self.home.environ)
        self._taking = threading.Thread(target=self._take_down, args=(self.writer,), daemon=True)
        self._taking.start()

    def _take_down(self, writer: subprocess.Popen[str]) -> None:
        assert writer.stdout is not None
        with writer.stdout as said:
            for line in said:
                if not line.endswith("\n"):
                    break
                what, *words = line.split()
                with self._lock:
                    if what == "version":
                        self.versions[int(words[0])] = " ".join(words[1:])
                    else:
                        (self.issued if what == "issued" else self.revoked).add(words[0])
        writer.wait()

    @contextmanager
    def calling(self) -> Iterator[None]:
        threads = [threading.Thread(target=self._use, daemon=True) for _ in range(2)]
        threads += [threading.Thread(target=self._charge, args=(n,), daemon=True) for n in range(2)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._stop.set()
            for thread in threads:
                thread.join(PATIENCE)

    def more(self) -> None:
        """Tokens of a few uses, for the callers to use up."""

        async def issue(vault: Vault) -> list[str]:
            return [await vault.issue("secret", "a", uses=USES) for _ in range(2)]

        self._counted += self.home.run(issue)

    def _use(self) -> None:
        while not self._stop.is_set():
            for token in self._counted[-2:]:
                got = self._ask(token, "/api/secret", "GET")
                if got is not None and got[0] == 200:
                    with self._lock:
                        self.granted[token] += 1
                elif got is not None and got[0] != 401:
                    self.wrong.append(got)

    def _charge(self, caller: int) -> None:
        for n in count():
            if self._stop.is_set():
                return
            self.charge(f"{caller}-{n}")

    def charge(self, key: str) -> None:
        """Make a call once; what came of it is found out later where there is no answer."""
        got = self._ask(self.route, f"/api/proxy/charge/{key}", "POST", key)
        with self._lock:
            if got is not None and got[0] == 201:
                self.results[key] = json.loads(got[1])["number"]
                self.open.discard(key)
            else:
                self.open.add(key)

    def _ask(self, token: str, path: str, method: str, key: str | None = None) -> tuple[int, str] | None:
        fields = {} if key is None else {"Idempotency-Key": key}
        try:
            assert self.server is not None
            got = get(self.server.url, token, path, method, **fields)
        except (OSError, http.client.HTTPException):
            time.sleep(0.05)  # as long as there is no server
            return None
        return got.status, got.body

    async def check(self, vault: Vault) -> None:
        with self._lock:
            versions, issued, revoked = dict(self.versions), set(self.issued), set(self.revoked)
            granted = Counter(self.granted)
        for version, value in versions.items():
            assert json.loads(await vault._database.records.read("secret", "shared", version))["value"] == value
        for token in issued:
            found = await vault.authorize(token, "secret")
            assert isinstance(found, Grant) or found.why == "revoked"
        for token in revoked:
            found = await vault.authorize(token, "secret")
            assert isinstance(found, Denial)
        used = {each.id: each.used for each in await vault.tokens()}
        for token, times in granted.items():
            found = await vault.authorize(token, "secret")
            assert found.token_id is not None
            assert times <= used[found.token_id] <= USES

    def check_results(self) -> int:
        """A repeat of every acknowledged call gets its first result, and is not made again; gives how many."""
        results, before = dict(self.results), sum(self.calls.values())
        for key, number in results.items():
            got = self._ask(self.route, f"/api/proxy/charge/{key}", "POST", key)
            assert got == (201, json.dumps({"number": number}))
        assert sum(self.calls.values()) == before
        return len(results)


@needs_proc
def test_nothing_that_was_acknowledged_is_lost(tmp_path: Path) -> None:
    home = Home(tmp_path / "home").made(a="value")
    calls: Counter[str] = Counter()
    lock = threading.Lock()

    def charged(request: bytes) -> bytes:
        key = request.split(b" ", 2)[1].decode()
        with lock:
            calls[key] += 1
            number = sum(calls.values())
        return answer(b'{"number": %d}' % number, status=b"201 Created")

    with serving(reply=charged) as upstream:
        home.run(lambda vault: vault.put_route(Route("r", upstream.url, timeout=0.5, allow_private=True)))
        chance = random.Random(KILLS)
        with Lab(home, home.token("route", "r"), calls) as lab:
            with lab.calling():
                for n in range(KILLS):
                    before = lab.acknowledged()
                    lab.more()
                    until(partial(goes_on, lab, before), 30)
                    time.sleep(chance.random() / 10)
                    if n % 3 == 0:
                        lab.kill_worker(chance)
                    elif n % 3 == 1:
                        lab.kill_server()
                        lab.restart()
                    else:
                        lab.kill_writer()
                        lab.write()
                    home.run(lab.check)
            unheard = set(lab.open)
            # Nobody is at work any more: the time is over that a call which died with its process is waited for.
            with closing(sqlite3.connect(home.path / VAULT_FILE)) as db, db:
                db.execute("UPDATE claims SET until = 0 WHERE done = 0")
            for key in sorted(unheard):
                lab.charge(key)
            assert lab.open == set()
            home.run(lab.check)
            repeated = lab.check_results()
        assert lab.wrong == []
    again = {key for key in unheard if calls[f"/charge/{key}"] > 1}
    # A call is made again only where nobody had an answer to it.
    assert {key for key, times in calls.items() if times > 1} == {f"/charge/{key}" for key in again}
    print(
        f"{KILLS} kills: {len(lab.versions)} versions, {len(lab.issued)} tokens, {len(lab.revoked)} revocations kept;"
        f" {sum(lab.granted.values())} uses of {len(lab.granted)} tokens, {repeated} results kept;"
        f" of {len(unheard)} calls without an answer {len(again)} were made again"
    )


def goes_on(lab: Lab, before: tuple[int, ...]) -> bool:
    return all(now > then for now, then in zip(lab.acknowledged(), before, strict=True))
