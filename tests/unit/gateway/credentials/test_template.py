from __future__ import annotations

import pytest

import oo
from oo.gateway.credentials.template import Template
from oo.gateway.errors import StoreError

VALUES = {"a": "first", "b.c-d_e": "second", "braces": "{a}"}


@pytest.mark.parametrize(
    ("text", "rendered", "secrets", "literals"),
    [
        ("", "", set(), ()),
        ("plain }", "plain }", set(), ("plain }",)),
        ("{a}", "first", {"a"}, ()),
        ("x{a}y{b.c-d_e}{a}", "xfirstysecondfirst", {"a", "b.c-d_e"}, ("x", "y")),
        ("{{a}", "{a}", set(), ("{a}",)),
        ("{{{a}}", "{first}", {"a"}, ("{", "}")),
        ('{{"k": "{a}"}', '{"k": "first"}', {"a"}, ('{"k": "', '"}')),
        ("{braces}", "{a}", {"braces"}, ()),
    ],
)
def test_a_placeholder_is_its_secret_and_two_braces_are_one(
    text: str, rendered: str, secrets: set[str], literals: tuple[str, ...]
) -> None:
    template = Template(text)
    assert (template.render(VALUES), template.secrets, template.literals) == (rendered, secrets, literals)
    assert bool(template) is bool(text)


@pytest.mark.parametrize("text", ["{", "x{a", "{}", "{ a}", "{a b}", "{-a}", "{a{b}}", "{a\n}", "{" + "a" * 129 + "}"])
def test_a_brace_that_is_not_closed_or_holds_no_name_is_refused_and_not_quoted(text: str) -> None:
    with pytest.raises(StoreError, match="for a brace") as caught:
        Template("sk-canary" + text)
    assert "canary" not in str(caught.value)


def test_a_text_is_a_string() -> None:
    with pytest.raises(StoreError, match="must be a string"):
        Template(None)  # type: ignore[arg-type]  # that is the point


def test_a_missing_value_is_said_without_any_other() -> None:
    with pytest.raises(oo.DoubleOError, match="a secret that it injects is missing") as caught:
        Template("{a} {gone}").render(VALUES)
    assert caught.value.reason == "argument"
    assert "first" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("u:p", ("u", "p")),
        ("{a}:{braces}", ("first", "{a}")),
        ("x{a}y:z:w", ("xfirsty", "z:w")),
        (":", ("", "")),
        ("{a}", None),
        ("u", None),
    ],
)
def test_it_is_split_outside_of_placeholders(text: str, parts: tuple[str, str] | None) -> None:
    found = Template(text).split(":")
    assert (found and tuple(part.render(VALUES) for part in found)) == parts


def test_what_is_shown_is_placeholders_alone() -> None:
    template = Template("Bearer sk-canary{a}")
    assert (template.shown, repr(template)) == ("...{a}", "<Template ...{a}>")


@pytest.mark.parametrize(("text", "secret"), [("{a}", "a"), ("{a}x", None), ("x", None), ("", None), ("{a}{a}", None)])
def test_one_that_is_a_secret_and_nothing_else(text: str, secret: str | None) -> None:
    assert Template(text).secret == secret
