from __future__ import annotations

from collections.abc import Mapping

import pytest

import oo
from oo.gateway.credentials.base import Credential, CredentialTools, with_header, without_headers
from oo.gateway.credentials.template import Template
from tests.support.credential_tools import Tools


class Plain(Credential):
    """The least that a kind is."""

    kind = "plain"

    @classmethod
    def parse(cls, text: str) -> Plain:
        return cls(Template(text))

    async def apply(self, request: oo.Request, values: Mapping[str, str], tools: CredentialTools) -> oo.Request:
        return request.with_header("X-Plain", self.templates[0].render(values))


async def test_a_kind_is_a_name_a_parser_and_one_step(tools: Tools) -> None:
    made, request = Plain.parse("canary {key}"), oo.Request("GET", "http://x/")
    assert (await made.apply(request, {"key": "v"}, tools)).headers["X-Plain"] == "canary v"
    assert (made.secrets, made.literals, made.sets, made.is_last) == ({"key"}, ("canary ",), None, False)
    assert made.refused(request, {"key": "v"}, tools) is False
    made.check({"key": "v"})
    assert (made.shown(), repr(made)) == ("plain ...{key}", "<Plain plain ...{key}>")


@pytest.mark.parametrize("spelled", ["X-Key", "x-key", "X_KEY", "x_Key"])
def test_a_header_is_replaced_however_it_is_spelled(spelled: str) -> None:
    request = oo.Request("GET", "http://x/", oo.Headers([("A", "1"), (spelled, "2"), ("B", "3"), (spelled, "4")]))
    assert without_headers(request, ["X-Key"]).headers.pairs() == (("A", "1"), ("B", "3"))
    assert with_header(request, "X-Key", "5").headers.pairs() == (("A", "1"), ("B", "3"), ("X-Key", "5"))


def test_a_request_without_the_header_is_left_as_it_is() -> None:
    request = oo.Request("GET", "http://x/", oo.Headers([("A", "1")]))
    assert without_headers(request, ["X-Key"]) is request
