"""The gateway's credentials and tokens, through an upstream that sends them back, are in nothing that leaves.

The suite runs a short form; tests/campaigns/test_client_leaks.py says how to run the long one.
"""

from __future__ import annotations

import asyncio
import json
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

import oo
from oo.gateway.app import Gateway
from oo.gateway.audit_log import AUDIT_FILE, AuditSettings
from oo.gateway.models import Kind, Route, SecretRef
from oo.gateway.tokens import new_token
from oo.gateway.vault import Vault
from oo.testing import BackgroundLoop
from tests.campaigns.test_client_leaks import Campaign, Case
from tests.support.canaries import (
    CASES,
    SEED,
    SPELLINGS,
    Canaries,
    awkward,
    environment_of,
    foreign,
    processes,
    shaped,
    watching,
)
from tests.support.faults import FaultServer, serving
from tests.support.processes import Home, children, files, kill, needs_proc, until
from tests.support.waiting import PATIENCE
from tests.support.wire import converse

pytestmark = pytest.mark.campaign


class Site(NamedTuple):
    """A gateway over a vault on the disk, and an upstream that echoes."""

    home: Home
    url: str
    tokens: dict[str, str]
    campaign: Campaign
    upstream: FaultServer


def routes(url: str) -> list[Route]:
    inject = {"Authorization": "Bearer {key}", "X-Awkward": "{odd}"}
    return [
        Route("api", url, inject, timeout=0.3, allow_private=True),
        Route("narrow", url, inject, ("GET /v1/*",), allow_private=True),
        Route("private", url, inject),
        Route("missing", url, {"X-Key": "{other}"}, allow_private=True),
    ]


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    rng = random.Random(SEED)
    values = {"key": shaped(), "odd": awkward(rng), "other": foreign(rng)}
    home = Home(tmp_path / "home").made()
    kinds: dict[str, tuple[Kind, str]] = {
        **{name: ("route", name) for name in ("api", "narrow", "private", "missing")},
        "secret": ("secret", "other"),
        "env": ("env", "web"),
    }

    async def fill(vault: Vault, url: str) -> dict[str, str]:
        for name, value in values.items():
            await vault.put_secret(name, value)
        await vault.put_environment("web", {"NAME": SecretRef("other"), "ODD": values["odd"]})
        for route in routes(url):
            await vault.put_route(route)
        return {label: await vault.issue(kind, name, label=f"label {label}") for label, (kind, name) in kinds.items()}

    with watching(monkeypatch) as watch, BackgroundLoop() as background:
        # What is not injected cannot come back. A gateway does not parse, so what is escaped twice is beyond it.
        campaign = Campaign(watch, key=values["key"], odd=values["odd"])
        campaign.places = [place for place in campaign.places if "quoted" not in place]
        background.run(talkative())
        with serving(reply=campaign.reply) as upstream:
            tokens = home.run(lambda vault: fill(vault, upstream.url))
            campaign.canaries = Canaries(**values, **{f"token {name}": token for name, token in tokens.items()})
            audit = AuditSettings().open(home.path)
            vault = background.enter(Vault(home.path, home.ring))
            gateway = background.enter(Gateway(vault, audit=audit))
            yield Site(home, gateway.url, tokens, campaign, upstream)
            audit.close()


async def talkative() -> None:
    loop = asyncio.get_running_loop()
    loop.set_debug(True)
    loop.slow_callback_duration = 0.0001


def call(rng: random.Random, token: str) -> bytes:
    method, fields = rng.choice((("GET", ""), ("POST", "Content-Length: 2\r\n"), ("PUT", "Content-Length: 2\r\n")))
    key = rng.choice(("", f"Idempotency-Key: {rng.randrange(9)}\r\n"))
    return (
        f"{method} /api/proxy/v1/x HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n{fields}{key}\r\n"
        + ("{}" if fields else "")
    ).encode()  # fmt: skip


def test_what_an_upstream_sends_back_reaches_nobody(site: Site, capfd: pytest.CaptureFixture[str]) -> None:
    campaign, seen = site.campaign, 0
    for _ in range(CASES or 120):
        label = campaign.rng.choices(("api", "narrow", "private", "missing", "secret"), (20, 1, 1, 1, 1))[0]
        case = campaign.drawn(f"through {label}")
        answers = converse(site.url, call(campaign.rng, site.tokens[label]))
        seen += sum(answer.status < 600 for answer in answers)
        campaign.search(case, [("answer", answer.raw) for answer in answers])
        campaign.look(case, None)
    campaign.search(Case("", "", "", "", ""), [("files", files(site.home.path))])
    shown = capfd.readouterr()
    assert campaign.canaries.in_(shown.out + shown.err) == []
    assert (site.home.path / AUDIT_FILE).read_text().count("\n") > (CASES or 120) // 2
    assert len(site.upstream.requests) > (CASES or 120) // 2
    assert seen > (CASES or 120) // 2
    campaign.done(failures=0)


def test_what_a_caller_sends_is_in_no_answer_no_log_and_no_file(site: Site) -> None:
    campaign = site.campaign
    stranger = new_token()
    campaign.canaries = Canaries(stranger=stranger, **campaign.values)
    for name, spelling in SPELLINGS.items():
        text = spelling(stranger)
        requests = [
            f"GET /{text} HTTP/1.1\r\nHost: x\r\n\r\n",
            f"GET /api/proxy/{text} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {text}\r\n\r\n",
            f"GET /api/secret?a={text} HTTP/1.1\r\nHost: {text}\r\nAuthorization: Basic {text}\r\n\r\n",
            f"{text} / HTTP/1.1\r\nHost: x\r\n\r\n",
            f"GET / HTTP/1.1\r\nHost: x\r\n{text}\r\n\r\n",
            f"GET / HTTP/{text}\r\nHost: x\r\n\r\n",
            f"POST /api/secret HTTP/1.1\r\nHost: x\r\nContent-Length: {text}\r\n\r\n",
            f"POST /api/secret HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n{text}\r\n",
            f"GET /api/secret HTTP/1.1\r\nHost: x\r\nCookie: {text}=1; a b={text}\r\nX-A: {text}\x01\r\n\r\n",
        ]
        for n, request in enumerate(requests):
            answers = converse(site.url, request.encode())
            assert answers, (n, name)
            case = Case(f"request {n}", "stranger", name, "", "")
            campaign.search(case, [("answer", answer.raw) for answer in answers])
            campaign.look(case, None)
    campaign.search(Case("", "", "", "", ""), [("files", files(site.home.path))])
    campaign.done(failures=0)


@needs_proc
def test_no_command_line_and_no_other_process_holds_a_token_or_a_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = Home(tmp_path / "home").made()
    values = {"secret": f"ä{foreign(random.Random(SEED))}".replace("'", "").replace("\\", ""), "key": shaped()}
    home.secret("key", values["key"])
    assert home.oo("secret", "set", "secret", "--from-file", "-", given=values["secret"]).returncode == 0
    home.run(lambda vault: vault.put_environment("web", {"NAME": SecretRef("secret"), "KEY": SecretRef("key")}))
    tokens = {"secret": home.token("secret", "secret"), "env": home.token("env", "web")}
    canaries = Canaries(**values, **{f"token {name}": token for name, token in tokens.items()})
    with home.serve("--workers", "2") as served, oo.Client(served.url) as client:
        until(lambda: len(served.workers()) == 2)
        assert client.get_secret(tokens["secret"]) == values["secret"]
        assert client.get_env(tokens["env"])["KEY"] == values["key"]
        client.export_env(tokens["env"], tmp_path / ".env")
        with pytest.raises(oo.AuthenticationError):
            client.get_secret(tokens["env"])
        environ = {**home.environ, "OO_BASE_URL": served.url, "OO_TOKEN": tokens["env"]}
        monkeypatch.setattr(home, "environ", environ)
        running = home.start("run", "--", "sleep", "30", stdin=subprocess.DEVNULL)
        try:
            # `oo run` becomes its command.
            until(lambda: b"sleep" in dict(processes())[running.pid].split(b"\0")[0])
            found = {pid: canaries.in_(line) for pid, line in processes()}
            assert {pid: names for pid, names in found.items() if names} == {}
            assert found.keys() >= {served.process.pid, running.pid, *served.workers()}
            assert children(running.pid) == []
            for pid in (served.process.pid, *served.workers()):
                assert canaries.in_(environment_of(pid)) == []
            # The command is the one place, and OO_TOKEN is not in it.
            assert sorted(canaries.in_(environment_of(running.pid))) == ["key", "secret"]
            kill(running.pid)
            assert running.wait(PATIENCE) == -signal.SIGKILL
        finally:
            running.kill()
            running.wait()
        assert canaries.in_(unrelated()) == []
        assert canaries.in_(served.log) == []
    assert canaries.in_(files(home.path)) == []


def unrelated() -> bytes:
    """The environment and the arguments of a child that has nothing to do with any of it."""
    script = "import json, os, sys; print(json.dumps([dict(os.environ), sys.argv], ensure_ascii=False))"
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True, timeout=PATIENCE).stdout
    assert json.loads(found)[0]
    return found
