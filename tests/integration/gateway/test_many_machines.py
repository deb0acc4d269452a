"""`oo` and two gateways, in processes of their own, over one PostgreSQL."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import pytest

import oo
import oo.testing
from oo.exceptions import AuthenticationError
from tests.support.faults import answer, serving
from tests.support.processes import Home, Serving, get, until

PASSWORD = "canary-password-91"


class Cluster:
    """A store in a database, and the homes of two machines that hold no more than its master key."""

    def __init__(self, url: str, tmp_path: Path) -> None:
        self.url = url
        self.one = Home(tmp_path / "one", OO_STORE=url, OO_STORE_REPLICATED="1")
        assert self.oo("init").startswith(f"vault {url.partition('@')[0][:11]}")
        key = self.one.key.read_text().strip()
        self.two = Home(tmp_path / "two", OO_STORE=url, OO_STORE_REPLICATED="1", OO_MASTER_KEY=key)
        self.two.environ["OO_HOME"] = str(self.two.path / "data")  # which is made
        self.two.path.mkdir()

    def oo(self, *args: str, given: str = "") -> str:
        done = self.one.oo(*args, given=given)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def token(self, *terms: str) -> str:
        return self.oo("token", "issue", *terms)

    def id_of(self, label: str) -> str:
        (found,) = [each["id"] for each in json.loads(self.oo("token", "list", "--json")) if each["label"] == label]
        return str(found)


@pytest.fixture
def cluster(postgres: str, tmp_path: Path) -> Cluster:
    return Cluster(postgres, tmp_path)


@pytest.fixture
def gateways(cluster: Cluster) -> Iterator[tuple[Serving, Serving]]:
    cluster.oo("secret", "set", "openai-key", "--from-file", "-", given="sk-value-1")
    with cluster.one.serve() as one, cluster.two.serve("--workers", "2") as two:
        yield one, two


def test_the_library_and_the_command_work_as_over_a_vault(cluster: Cluster, gateways: tuple[Serving, Serving]) -> None:
    one, two = gateways
    secret = cluster.token("--secret", "openai-key")
    cluster.oo("env", "set", "web", "KEY=@openai-key", "MODE=on")
    environment = cluster.token("--env", "web")
    for url in (one.url, two.url):
        assert oo.get_secret(secret, base_url=url) == "sk-value-1"
        assert oo.get_env(environment, base_url=url) == {"KEY": "sk-value-1", "MODE": "on"}
    cluster.oo("secret", "set", "openai-key", "--from-file", "-", given="sk-value-2")
    assert [oo.get_secret(secret, base_url=url) for url in (one.url, two.url)] == ["sk-value-2"] * 2
    assert cluster.oo("secret", "rollback", "openai-key")
    assert [oo.get_secret(secret, base_url=url) for url in (one.url, two.url)] == ["sk-value-1"] * 2
    assert "GET" not in cluster.oo("explain", "GET /api/secret", given=secret).partition("\n")[0]
    before = cluster.one.key.read_text()
    assert "data keys wrapped with the new key: 5" in cluster.oo("rekey")
    assert cluster.one.key.read_text() != before
    # The other machine needs the new master key when it is started anew.
    assert [oo.get_secret(secret, base_url=url) for url in (one.url, two.url)] == ["sk-value-1"] * 2
    cluster.oo("secret", "set", "openai-key", "--from-file", "-", given="sk-value-3")
    assert [oo.get_secret(secret, base_url=url) for url in (one.url, two.url)] == ["sk-value-3"] * 2
    assert "records sealed anew" in cluster.oo("rekey", "--deep")
    assert oo.get_secret(secret, base_url=one.url) == "sk-value-3"


def test_uses_and_rates_are_one_for_all(cluster: Cluster, gateways: tuple[Serving, Serving]) -> None:
    tokens = [cluster.token("--secret", "openai-key", *terms) for terms in (("--uses", "25"), ("--rate", "25/d"))]
    for token, refused in zip(tokens, (401, 429), strict=True):
        with ThreadPoolExecutor(8) as pool:
            statuses = list(pool.map(lambda n, t=token: gateways[n % 2].get(t).status, range(60)))
        assert (statuses.count(200), statuses.count(refused)) == (25, 35)


def test_a_revocation_is_acknowledged_by_every_gateway(cluster: Cluster, gateways: tuple[Serving, Serving]) -> None:
    tokens = [cluster.token("--secret", "openai-key", "--label", f"n{n}", *terms) for n, terms in enumerate(((), ()))]
    for n, token in enumerate(tokens):
        assert [each.get(token).status for each in gateways] == [200, 200]
        cluster.oo("token", "revoke", cluster.id_of(f"n{n}"))
        assert [each.get(token).status for each in gateways for _ in range(20)] == [401] * 40


def test_a_keyed_call_is_made_once_whichever_gateway_is_asked(
    cluster: Cluster, gateways: tuple[Serving, Serving]
) -> None:
    made: list[bytes] = []

    def upstream(request: bytes) -> bytes:
        made.append(request)
        time.sleep(0.2)
        return answer(b'{"n": %d}' % len(made), b"Content-Type: application/json", status=b"201 Created")

    with serving(reply=upstream) as api:
        route = (
            "--upstream",
            api.url,
            "--inject",
            "X-Key: {openai-key}",
            "--allow-private",
            "--allow-plain-http",
            "--allow-weak",
        )
        cluster.oo("route", "set", "pay", *route)
        token = cluster.token("--route", "pay", "--uses", "3")
        with ThreadPoolExecutor(8) as pool:
            calls = [
                pool.submit(get, gateways[n % 2].url, token, "/api/proxy/charge", "POST", **{"Idempotency-Key": "k"})
                for n in range(8)
            ]
        got = [call.result() for call in calls]
        assert [(each.status, each.data) for each in got] == [(201, {"n": 1})] * 8
        assert len(made) == 1
        assert b"sk-value-1" in made[0]
        for n in range(2):
            assert get(gateways[n].url, token, "/api/proxy/x").status == 201
        assert get(gateways[0].url, token, "/api/proxy/x").status == 401
        # One that is used up repeats a call for nothing.
        repeated = get(gateways[1].url, token, "/api/proxy/charge", "POST", **{"Idempotency-Key": "k"})
        assert (repeated.status, len(made)) == (201, 3)


def test_the_audit_names_what_was_asked_of_each(cluster: Cluster, gateways: tuple[Serving, Serving]) -> None:
    token = cluster.token("--secret", "openai-key", "--label", "mine")
    for each in gateways:
        assert each.get(token).status == 200
    for home in (cluster.one, cluster.two):
        lines = [json.loads(line) for line in home.oo("audit").stdout.splitlines()]
        assert {line["token_id"] for line in lines if line.get("token_id")} == {cluster.id_of("mine")}


def test_a_gateway_of_the_testing_module_opens_one_too(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OO_MASTER_KEY", cluster.one.key.read_text().strip())
    with oo.testing.gateway(cluster.url) as gateway:
        token = gateway.secret("s", "value-1234")
        assert oo.get_secret(token, base_url=gateway.url) == "value-1234"
        gateway.run(gateway.vault.revoke(gateway.vault.id_of(token)))
        with pytest.raises(AuthenticationError):
            oo.get_secret(token, base_url=gateway.url)


REFUSED: list[tuple[tuple[str, ...], dict[str, str], str]] = [
    (("secret", "list"), {}, "there is no store at postgres://"),
    (("secret", "list", "--store", "postgres://u:{password}@127.0.0.1/x"), {}, "a password is never an argument"),
    (
        ("secret", "list", "--store", "postgres://127.0.0.1/x?password={password}"),
        {},
        "a password is never an argument",
    ),
    (("secret", "list", "--store", "postgres://db.example/x?sslmode=require"), {}, "verify-full"),
    (("secret", "list", "--store", "postgres://127.0.0.1:1/x"), {}, "cannot be reached"),
    (("secret", "list", "--store", "postgres://127.0.0.1:1/x?what=1"), {}, "parameter 'what'"),
    (("secret", "list"), {"OO_STORE": "postgres://u:{password}@127.0.0.1:1/x"}, "cannot be reached"),
    (("secret", "list"), {"OO_STORE": "postgres://u:{password}@[/x"}, "is no URL such as"),
    (("secret", "list"), {"OO_STORE_PASSWORD_FILE": "/nowhere"}, "password file /nowhere cannot be read"),
]


@pytest.mark.parametrize(("args", "environ", "said"), REFUSED)
def test_what_cannot_be_opened_is_one_line_without_the_password(
    postgres: str, tmp_path: Path, args: tuple[str, ...], environ: dict[str, str], said: str
) -> None:
    home = Home(tmp_path, OO_STORE=postgres, OO_MASTER_KEY="ab" * 32)
    environ = {name: value.format(password=PASSWORD) for name, value in environ.items()}
    done = home.oo(*(each.format(password=PASSWORD) for each in args), **environ)
    assert (done.returncode != 0, said in done.stderr, done.stderr.count("\n")) == (True, True, 1), done.stderr
    assert PASSWORD not in done.stderr


def test_a_second_init_changes_nothing_and_another_key_opens_nothing(cluster: Cluster) -> None:
    again = cluster.one.oo("init")
    assert (again.returncode, "there is a store at" in again.stderr) == (1, True)
    other = cluster.one.oo("secret", "list", OO_MASTER_KEY="ab" * 32)
    assert (other.returncode, "the master key does not open the store" in other.stderr) == (1, True)


def test_a_gateway_without_its_engine_says_503_and_comes_back(
    cluster: Cluster, gateways: tuple[Serving, Serving]
) -> None:
    from tests.support.postgres import forbidding

    token = cluster.token("--secret", "openai-key", "--label", "mine")
    assert [each.get(token).status for each in gateways] == [200, 200]
    with forbidding(cluster.url):
        got = [each.get(token) for each in gateways]
        assert [(each.status, each.headers["Retry-After"]) for each in got] == [(503, "1")] * 2
        assert [each.get(None, path).status for path in ("/health", "/ready") for each in gateways] == [
            200,
            200,
            503,
            503,
        ]
    until(lambda: [each.get(token).status for each in gateways] == [200, 200])
    outcomes = {json.loads(line).get("outcome") for line in cluster.one.oo("audit").stdout.splitlines()}
    assert "unavailable" in outcomes
    assert urlsplit(cluster.url).netloc not in json.dumps([each.body for each in got])
