from __future__ import annotations

import posixpath
import re
import unicodedata
from collections.abc import Callable
from contextlib import suppress
from urllib.parse import quote, unquote, unquote_plus

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from oo.gateway.models import Route
from oo.gateway.path_readings import readings

PUBLIC = Route("r", "https://api.test", allow=("GET /v1/public/*", "GET /v1/*/open"))


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/v1/chat/completions",
        "/v1/models/gpt-4o:generate",
        "/v1/items/",
        "/.well-known/jwks.json",
        "/a...b/@user/~me/x=1,y=2/(it's)/$!&*+",
        "/v1beta/models/gemini-1.5-pro:streamGenerateContent",
    ],
)
def test_a_path_of_plain_characters_has_one_reading(path: str) -> None:
    assert readings(path) == (path,)


@pytest.mark.parametrize(
    ("path", "others"),
    [
        ("/v1/a%20b", ["/v1/a b"]),
        ("/v1/caf%C3%A9", ["/v1/café"]),
        ("/v1/caf%E9", ["/v1/café", "/v1/caf\ufffd"]),
        ("/v1/a%2Fb", ["/v1/a/b"]),
        ("/v1/100%25", ["/v1/100%"]),
        ("/v1/a%252Fb", ["/v1/a%2Fb", "/v1/a/b"]),
        ("/v1/a%25252Fb", ["/v1/a%252Fb", "/v1/a%2Fb", "/v1/a/b"]),
        ("/v1//x", ["/v1/x"]),
        ("/v1/x.", ["/v1/x"]),
        ("/v1/x%20/y", ["/v1/x /y", "/v1/x/y"]),
        ("/v1/x;a=1/y", ["/v1/x/y", "/v1/x"]),
        ("/v1/x%3Fa", ["/v1/x?a", "/v1/x"]),
        ("/v1/%EF%BD%81", ["/v1/\uff41", "/v1/a"]),
        ("/v1/x%C0%AFy", ["/v1/x/y"]),
        ("/v1/x%E0%80%AFy", ["/v1/x/y"]),
        ("/v1/x%F0%80%80%AFy", ["/v1/x/y"]),
        ("/v1/x%C1%9Cy", ["/v1/x\\y", "/v1/x/y"]),
        ("/v1/x%25u002Fy", ["/v1/x%u002Fy", "/v1/x/y"]),
        ("/v1/x%E2%80%8By", ["/v1/x\u200by", "/v1/xy"]),
        ("/v1/x%E2%88%95y", ["/v1/x\u2215y", "/v1/x/y"]),
    ],
)
def test_the_readings_of_a_path_are_those_of_all_servers(path: str, others: list[str]) -> None:
    first, *rest = readings(path)
    assert (first, set(others) - set(rest)) == (path, set())


# What was found in real servers, each a way out of `/v1/public/*` or into what is not `/v1/*/open`.
BYPASSES = {
    "dots in overlong UTF-8 (IIS, CVE-2000-0884)": "v1/public/%C0%AE%C0%AE/admin",
    "dots in three bytes (Tomcat, CVE-2008-2938)": "v1/public/%E0%80%AE%E0%80%AE/admin",
    "dots in four bytes": "v1/public/%F0%80%80%AE%F0%80%80%AE/admin",
    "a slash in overlong UTF-8": "v1/public/..%C0%AFadmin",
    "a slash whose second byte is none": "v1/public/..%C0%2Fadmin",
    "a backslash in overlong UTF-8": "v1/public/..%C1%9Cadmin",
    "overlong, escaped twice (CVE-2001-0333)": "v1/public/%25C0%25AE%25C0%25AE/admin",
    "fullwidth dots": "v1/public/%EF%BC%8E%EF%BC%8E/admin",
    "a fullwidth slash": "v1/public/..%EF%BC%8Fadmin",
    "a two dot leader": "v1/public/%E2%80%A5/admin",
    "a fullwidth percent sign": "v1/public/%EF%BC%852e%EF%BC%852e/admin",
    "a slash that looks like one (best fit)": "v1/public/..%E2%88%95admin",
    "a yen sign (best fit)": "v1/public/..%C2%A5admin",
    "dots in Microsoft's escapes": "v1/public/%25u002e%25u002e/admin",
    "dots and a blank (Windows)": "v1/public/..%20./admin",
    "dots and no-break space": "v1/public/..%C2%A0/admin",
    "dots and a Latin-1 no-break space": "v1/public/..%A0/admin",
    "three dots (Windows 9x)": "v1/public/.../admin",
    "dots around a zero-width space": "v1/public/.%E2%80%8B./admin",
    "dots around a variation selector": "v1/public/.%EF%B8%8F./admin",
    "dots around a grapheme joiner": "v1/public/.%CD%8F./admin",
    "dots around a Hangul filler": "v1/public/.%E3%85%A4./admin",
    "dots around a tag": "v1/public/.%F3%A0%80%81./admin",
    "ideographic stops": "v1/public/%E3%80%82%E3%80%82/admin",
    "dots and a parameter (Tomcat behind nginx)": "v1/public/%252E%252E%253Bx/admin",
    "a suffix in a parameter (Spring, CVE-2020-5410)": "v1/secret;/open",
    "a suffix in an escaped parameter": "v1/secret%3B/open",
    "a suffix in a parameter, escaped twice": "v1/secret%253Bx/open",
    "a suffix in an escaped query": "v1/secret%3F/open",
    "a suffix in a fragment": "v1/secret%23/open",
    "a suffix in a query, fullwidth": "v1/secret%EF%BC%9F/open",
    "an empty segment for the star": "v1//open",
    "a blank segment for the star": "v1/%20/open",
    "a segment of a parameter alone for the star": "v1/;x/open",
    "escaped too often to tell": "v1/public/" + "%25" * 3 + "25" * 100 + "2e",
}


@pytest.mark.parametrize("path", BYPASSES.values(), ids=BYPASSES)
def test_what_some_server_reads_as_another_path_is_refused(path: str) -> None:
    assert not PUBLIC.allows("GET", path)


@pytest.mark.parametrize(
    "path",
    [
        "v1/public/a%20b",
        "v1/public/caf%C3%A9/caf%E9",
        "v1/public/%E4%B8%AD%E6%96%87.txt",
        "v1/public/a%2Fb",
        "v1/public/100%25",
        "v1/public/a;b=1",
        "v1/public//x",
        "v1/public/x...y",
        "v1/public/",
        "v1/any/open",
        "v1/a%20b/open",
    ],
)
def test_what_every_server_reads_within_the_pattern_passes(path: str) -> None:
    assert PUBLIC.allows("GET", path)


@pytest.mark.parametrize("path", ["%C0%AE%C0%AE/admin", "v1/.../x", "a%EF%BC%8F%EF%BC%8E%EF%BC%8E%EF%BC%8Fadmin"])
def test_a_route_that_allows_all_still_ends_at_its_upstream(path: str) -> None:
    assert not Route("r", "https://api.test/base").allows("GET", path)


@pytest.mark.parametrize(
    "path", ["/%" + "25" * 8000, "/" + ";/%2E" * 3000, "/" + "%20" * 5000 + "x", "/a;b%20/%5Cc./%EF%BC%8Fd//e%252e" * 9]
)
def test_a_path_of_many_readings_is_given_up(path: str) -> None:
    with pytest.raises(ValueError, match="the path may be read"):
        readings(path + "//%2525.;%20/")


def overlong(text: str) -> str:
    return re.sub("%[cC]0%([aA][eEfF])", lambda found: {"ae": ".", "af": "/"}[found[1].lower()], text)


# Servers, each a row of steps that was written without a look at the gateway's.
STEPS: dict[str, Callable[[str], str]] = {
    "unescape": lambda path: unquote(path, errors="surrogateescape"),
    "unescape as Latin-1": lambda path: (
        unquote(path, "latin-1") if b"\xff" in path.encode("latin-1", "replace") else path
    ),
    "overlong": overlong,
    "NFKC": lambda path: unicodedata.normalize("NFKC", path),
    "parameters": lambda path: "/".join(segment.partition(";")[0] for segment in path.split("/")),
    "parameter": lambda path: path.partition(";")[0],
    "query": lambda path: path.partition("?")[0],
    "fragment": lambda path: path.partition("#")[0],
    "blanks": lambda path: "/".join(segment.strip(" \t\xa0\u3000") for segment in path.split("/")),
    "dots": lambda path: "/".join(segment.rstrip(" .") or segment for segment in path.split("/")),
    "backslashes": lambda path: path.replace("\\", "/"),
    "slashes": lambda path: re.sub("/+", "/", path),
    "climb": lambda path: posixpath.normpath(path) + ("/" if path.endswith("/") else ""),
}
PIECES = [
    *(
        "v1",
        "public",
        "open",
        "admin",
        "x",
        "a",
        "..",
        ".",
        "/",
        "//",
        ";",
        ";x=1",
        "?",
        "#",
        "\\",
        " ",
        "%",
        "%25",
        ".",
    ),
    *("%2e", "%2E", "%2f", "%5C", "%3b", "%3F", "%23", "%20", "%09", "%c0%ae", "%C0%AF", "%252e", "%25252f", "%253B"),
    *(
        "\uff0e",
        "\uff0f",
        "\uff1b",
        "\u2025",
        "\u2026",
        "\uff052e",
        "\u3000",
        "\xa0",
        "é",
        "中",
        "%FF",
        "25",
        "2e",
        "2f",
    ),
]


@settings(max_examples=600, deadline=None)
@given(
    st.lists(st.sampled_from(PIECES), max_size=8).map("".join),
    st.sampled_from(["v1/public/", "v1/", "v1/public/x/"]),
    st.sampled_from(["", "/open", "/"]),
    st.lists(st.sampled_from(sorted(STEPS)), max_size=7),
)
@example("..%c0%af", "v1/public/", "", ["unescape", "overlong", "climb"])
@example("%2e%2e/admin", "v1/public/", "", ["unescape", "climb"])
@example("admin%3B", "v1/", "/open", ["unescape", "parameter"])
def test_no_server_reads_what_is_allowed_as_what_is_not(middle: str, begin: str, end: str, steps: list[str]) -> None:
    path = quote(begin + middle + end, safe="/:@!$&'()*+,;=~-._%")
    if not PUBLIC.allows("GET", path):
        return
    read, unescaped = f"/{path}", 0
    for step in steps:
        unescaped += step == "unescape"
        if unescaped <= 3:
            read = STEPS[step](read)
    assert re.fullmatch(r"/v1/public/.*|/v1/.*/open", read, re.DOTALL), (path, read)


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=60))
def test_any_text_is_read_or_given_up(text: str) -> None:
    path = "/" + quote(text, safe="/;%", errors="surrogatepass")
    with suppress(ValueError):
        found = readings(path)
        assert found[0] == path
        assert unquote_plus(path.replace("+", "%2B"), errors="replace") in found
