from __future__ import annotations

import subprocess
import sys

import pytest

from oo.gateway.credentials.base import Credential
from oo.gateway.credentials.registry import KINDS, Registry
from oo.gateway.errors import StoreError, UnknownKind
from tests.unit.gateway.credentials.test_base import Plain

TEXTS = {
    "header": "X-Key: {k}",
    "query": "key={k}",
    "basic": "u:{k}",
    "path": "https://h/{k}",
    "oauth2": "token_url=https://h/ client_id=a client_secret={k}",
    "sigv4": "access_key=a secret_key={k} region=r service=s3",
    "jwt": "alg=HS256 key={k}",
    "github-app": "app_id=1 installation_id=2 key={k}",
    "gcp-service-account": "key={k} scope=a",
}


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_is_parsed_by_its_name(kind: str) -> None:
    made = Registry().parse(f"{kind} {TEXTS[kind]}")
    assert isinstance(made, Credential)
    assert (made.kind, made.secrets) == (kind, {"k"})
    assert made.shown().startswith(f"{kind} ")


@pytest.mark.parametrize("text", ["acme-hmac {key}", "oauth3 key={tg}", "hmac-sha256 key={tg}"])
def test_a_kind_that_is_not_known_is_named(text: str) -> None:
    with pytest.raises(UnknownKind, match="and those of the plugins that --plugins names") as caught:
        Registry().parse(text)
    assert caught.value.kind == text.split()[0]
    assert f"no kind of credentials '{caught.value.kind}' is known" in str(caught.value)


@pytest.mark.parametrize("text", ["", "canary", "canary x", "Header X: y", "sk-canary-0123456789 {x}", "canary" * 6])
def test_a_kind_that_is_none_is_refused_and_not_quoted(text: str) -> None:
    with pytest.raises(StoreError, match="there are header, query, basic") as caught:
        Registry().parse(text)
    assert "canary" not in str(caught.value)


def test_plugins_add_kinds() -> None:
    registry = Registry([Plain])
    assert registry.kinds == [*KINDS, "plain"]
    assert isinstance(registry.parse("plain x{k}"), Plain)


class Taken(Plain):
    kind = "header"


@pytest.mark.parametrize("added", [[Taken], [Plain, Plain], ["plain"], [str], [Plain.parse("x")]])
def test_an_added_kind_has_a_name_of_its_own(added: list[object]) -> None:
    with pytest.raises(StoreError):
        Registry(added)


def test_the_same_texts_are_the_same_object_which_holds_what_it_fetched() -> None:
    registry = Registry()
    made = registry.of(("jwt alg=HS256 key={k}",))
    assert registry.of(("jwt alg=HS256 key={k}",)) is made
    assert registry.of(("jwt alg=HS256 key={k} ttl=10",)) is not made


def test_a_kind_is_loaded_where_it_is_used() -> None:
    script = (
        "import sys; from oo.gateway.credentials.registry import Registry; Registry().of(('header X: {k}',)); "
        "print([name for name in sys.modules if name == 'cryptography' or name.startswith('aiohttp')])"
    )
    shown = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert shown.stdout.strip() == "[]"


LOADED = """
import sys
from oo.gateway.credentials.registry import Registry
before = set(sys.modules)
Registry().load(*map(str.split, sys.argv[1:]))
print(*(set(sys.modules) - before))
"""


def test_what_the_kinds_stand_on_is_imported_before_the_first_call() -> None:
    done = subprocess.run([sys.executable, "-c", LOADED], capture_output=True, text=True, timeout=60, check=True)
    loaded = set(done.stdout.split())
    assert {f"oo.gateway.credentials.{each.partition('.')[0]}" for each in KINDS.values()} <= loaded
    assert "cryptography.hazmat.primitives.asymmetric.rsa" in loaded


def test_of_the_kinds_that_are_named_those_that_are_known_are_imported() -> None:
    command = [sys.executable, "-c", LOADED, "basic a-plugin-s"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    loaded = set(done.stdout.split())
    kinds = {f"oo.gateway.credentials.{each.partition('.')[0]}" for each in KINDS.values()}
    assert loaded & kinds == {"oo.gateway.credentials.basic"}
