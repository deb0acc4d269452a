"""What a command prints holds no token and no secret, whatever a server sends back and wherever one was typed."""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.campaigns.test_client_leaks import Campaign
from tests.support.canaries import CASES, SEED, SPELLINGS, Canaries, Watch, awkward, foreign, shaped, watching
from tests.support.command import Inside
from tests.support.faults import CLOSE, READ, answer, head, serving

pytestmark = pytest.mark.campaign

CALLS = (
    ("get",),
    ("export", "file"),
    ("run", "--", "true"),
    ("proxy", "v1/models"),
    ("proxy", "v1/x", "-d", "{}"),
    ("chat", "Hello!"),
    ("health",),
)


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> Iterator[Watch]:
    with watching(monkeypatch) as watch:
        yield watch


@pytest.mark.parametrize("kind", ["shaped", "awkward"])
def test_no_answer_has_a_command_print_its_token(
    kind: str, inside: Inside, watch: Watch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    # Some answers are variables, and `oo run` would replace this process.
    monkeypatch.setattr("oo._commands.run._become", sys.exit)
    campaign = Campaign(watch, token=shaped() if kind == "shaped" else awkward(random.Random(SEED)))
    # What a command prints is JSON again, and what is escaped twice is beyond it.
    campaign.places = [place for place in campaign.places if "quoted" not in place]
    monkeypatch.setenv("OO_TOKEN", campaign.values["token"])
    ended = []
    with serving(reply=campaign.reply) as server:
        monkeypatch.setenv("OO_BASE_URL", server.url)
        for n in range(CASES or 70):
            call = CALLS[n % len(CALLS)]
            case = campaign.drawn(" ".join(call))
            result = inside(*call)
            ended.append(result.exit_code)
            campaign.search(case, [("output", result.stdout), ("output", result.stderr)])
            campaign.look(case, None)
    assert 1 in ended
    campaign.done(failures=0)


@pytest.mark.parametrize(
    ("call", "length", "code"),
    [
        (("proxy", "v1/x"), b"Content-Length: 999", 1),
        (("proxy", "v1/x"), b"Connection: close", 0),
        (("chat", "Hello!"), b"Content-Length: 999", 1),
    ],
)
def test_a_token_that_is_cut_off_is_not_printed_as_far_as_it_came(
    call: tuple[str, ...], length: bytes, code: int, inside: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = shaped()
    monkeypatch.setenv("OO_TOKEN", token)
    said = f"it is {token[:-2]}"
    if call[0] == "chat":
        said = f"data: {json.dumps({'choices': [{'delta': {'content': said}}]})}\n\n"
    with serving([READ, head(length) + said.encode(), CLOSE]) as server:
        monkeypatch.setenv("OO_BASE_URL", server.url)
        result = inside(*call)
    assert result.exit_code == code
    assert "it is " in result.stdout
    assert token[:12] not in result.stdout + result.stderr


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_an_answer_that_holds_the_token_is_printed_without_it(
    spelling: str, inside: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = awkward(random.Random(SEED))
    canaries = Canaries(token=token)
    monkeypatch.setenv("OO_TOKEN", token)
    quoted = f"it is {SPELLINGS[spelling](token)}."
    answers: list[dict[str, object]] = [{"choices": [{"delta": {"content": quoted}}]}, {"error": {"message": quoted}}]

    def reply(request: bytes) -> bytes:
        said = json.dumps(answers[0]).encode()
        return answer(b"data: " + said + b"\n\ndata: [DONE]\n\n" if b'"stream":true' in request else said)

    with serving(reply=reply) as server:
        monkeypatch.setenv("OO_BASE_URL", server.url)
        while answers:
            for call in (("proxy", "v1/x"), ("chat", "Hello!")):
                result = inside(*call)
                shown = result.stdout + result.stderr
                assert "it is" in shown
                assert "***" in shown
                assert canaries.in_(shown) == []
            answers.pop(0)


@pytest.mark.parametrize(
    "command",
    [
        ("secret", "set", "key", "@"),
        ("secret", "set", "@", "@"),
        ("secret", "set", "--value", "@"),
        ("secret", "set", "--value=@", "key"),
        ("env", "set", "web", "@"),
        ("env", "set", "web", "KEY", "@"),
        ("env", "set", "web", "KEY=@\0"),
        ("route", "set", "r", "--upstream", "http://h", "--inject", "Bearer @"),
        ("route", "set", "r", "--upstream", "http://h", "--inject", "X-Key: \t@\x01"),
        ("route", "set", "r", "--upstream", "http://user:@@h"),
        ("route", "set", "r", "--upstream", "http://h", "X-Key: @"),
        ("token", "issue", "--secret", "key", "@"),
        ("get", "@"),
        ("export", "file", "@"),
        ("chat", "Hello!", "@"),
        ("run", "--token", "@", "--", "true"),
        ("proxy", "v1", "-d", "@"),
        ("health", "@"),
        ("health", "--base-url", "http://user:@@localhost"),
        ("serve", "@"),
    ],
    ids=" ".join,
)
def test_a_secret_in_the_place_of_an_argument_is_not_said_again(
    command: tuple[str, ...], vault: Inside, inside: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OO_TOKEN", "another")
    monkeypatch.setenv("OO_BASE_URL", "http://127.0.0.1:9")
    secret = "".join(each for each in foreign(random.Random(SEED)) if each not in "=:@{}")
    result = inside(*(part.replace("@", secret) for part in command))
    assert result.exit_code
    assert result.stderr.startswith("oo: ")
    assert Canaries(secret=secret).in_(result.stdout + result.stderr) == []
