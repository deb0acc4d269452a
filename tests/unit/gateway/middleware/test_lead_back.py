from __future__ import annotations

import asyncio

import pytest

import oo
from oo._core.io import LoopIO
from oo._core.masking import Mask
from oo._core.pipeline import Pipeline
from oo.gateway.middleware.lead_back import LeadBack
from oo.gateway.middleware.mask import MaskResponse, hide
from oo.gateway.models import Route
from oo.testing import MockTransport, Streamed
from tests.support.calls import call, through

ROUTE = Route("r", "https://api.test/base")


async def led(name: str, value: str, url: str = "https://api.test/base/v1/x?a=1") -> str:
    request = call(route=ROUTE).replace(url=url, base_url="https://api.test/base")
    scripted = oo.Response(201, oo.Headers([("Date", "now"), (name, value), ("X-Other", value)]), b"", request=request)
    answer, _ = await through(LeadBack(), request, scripted)
    (_, date), (kept, got), (_, other) = answer.headers.pairs()
    assert (date, kept, other) == ("now", name, value)
    return got


@pytest.mark.parametrize("name", ["Location", "content-location", "Operation-Location"])
@pytest.mark.parametrize(
    ("url", "back"),
    [
        ("https://api.test/base/v1/y?q=1#f", "/api/proxy/v1/y?q=1#f"),
        ("https://API.TEST:443/base/v1/y", "/api/proxy/v1/y"),
        ("//api.test/base/y", "/api/proxy/y"),
        ("/base/v1/y/", "/api/proxy/v1/y/"),
        ("/b%61se/v1/y%2Fz", "/api/proxy/v1/y%2Fz"),
        ("y", "/api/proxy/v1/y"),
        ("?page=2", "/api/proxy/v1/x?page=2"),
        ("../v2/y", "/api/proxy/v2/y"),
        ("https://api.test/base", "/api/proxy/"),
        ("https://user@api.test/base/y", "/api/proxy/y"),
        ("/base//elsewhere.test/y", "/api/proxy//elsewhere.test/y"),
        # The upstream's own origin, but beside the route: the whole URL says where.
        ("/login", "https://api.test/login"),
        ("../../../login", "https://api.test/login"),
        ("/based/x", "https://api.test/based/x"),
        ("https://api.test", "https://api.test"),
    ],
)
async def test_what_is_below_the_upstream_leads_back(name: str, url: str, back: str) -> None:
    assert await led(name, url) == back


@pytest.mark.parametrize(
    "url",
    [
        "https://elsewhere.test/base/x",
        "http://api.test/base/x",
        "https://api.test:8443/base/x",
        "https://api.test.evil/base/x",
        "//elsewhere.test/base/x",
        "mailto:a@api.test",
        "https://api.test:99999/base",
        "https://[/base",
        "#part",
        "",
        " ",
    ],
)
async def test_what_leads_elsewhere_passes_untouched(url: str) -> None:
    assert await led("Location", url) == url
    assert await led("Link", f"<{url}>; rel=next") == f"<{url}>; rel=next"


@pytest.mark.parametrize(
    ("value", "back"),
    [
        ("<https://api.test/base/a?p=2>; rel=next", "</api/proxy/a?p=2>; rel=next"),
        ('</base/a>; rel="next", <b>;rel=last', '</api/proxy/a>; rel="next", </api/proxy/v1/b>;rel=last'),
        ('<//x.test/>; title="</base/a>", </base/b>', '<//x.test/>; title="</base/a>", </api/proxy/b>'),
        (r'<a>; title="\"</base/a>", <b>', r'</api/proxy/v1/a>; title="\"</base/a>", </api/proxy/v1/b>'),
        ('<a>; title="never closed </base/a>', '</api/proxy/v1/a>; title="never closed </base/a>'),
        ("< /base/a >", "</api/proxy/a>"),
        ("no target", "no target"),
        ("<never closed", "<never closed"),
    ],
)
async def test_the_targets_of_links_lead_back_and_nothing_else_does(value: str, back: str) -> None:
    assert await led("Link", value) == back


async def test_a_header_that_is_hard_to_read_takes_no_longer() -> None:
    value = '<a>; title="' + '\\"' * 100_000
    assert await led("Link", value) == value.replace("<a>", "</api/proxy/v1/a>")


async def test_a_secret_in_the_path_does_not_come_back() -> None:
    secret, route = "123:the-bot's-secret", Route("r", "https://api.test/bot{tg}")
    base = f"https://api.test/bot{secret}"

    async def inject(request: oo.Request, call_next: oo.CallNext) -> oo.Response:
        hide(request, {secret})
        return await call_next(request.replace(base_url=base, url=f"{base}/getMe"))

    escaped = secret.replace(":", "%3A")
    headers = oo.Headers([("Location", f"{base}/a"), ("Link", f"</bot{escaped}/b>, </other/{secret}>")])
    request = call(route=route)
    transport = MockTransport([oo.Response(302, headers, b"", request=request)])
    answer = await Pipeline([MaskResponse(), LeadBack(), inject], transport, LoopIO()).handle(request)
    assert answer.headers["Location"] == "/api/proxy/a"
    assert answer.headers["Link"] == f"</api/proxy/b>, <https://api.test/other/{Mask({secret}).text(secret)}>"


async def test_what_goes_to_no_upstream_passes_as_it_is() -> None:
    scripted = oo.Response(200, oo.Headers([("Location", "/base/x")]), b"", request=call())
    answer, _ = await through(LeadBack(), call("GET", "/api/secret", endpoint="secret"), scripted)
    assert answer.headers["Location"] == "/base/x"


@pytest.mark.parametrize(("count", "is_led"), [(64, True), (65, False)])
async def test_a_list_of_more_urls_than_anybody_follows_passes_as_it_is(count: int, is_led: bool) -> None:
    given = [f"</base/{number}>; rel=x" for number in range(count)]
    back = [each.replace("/base/", "/api/proxy/") for each in given] if is_led else given
    assert await led("Link", ", ".join(given)) == ", ".join(back)


async def test_whose_caller_leaves_amid_long_lists_is_ended() -> None:
    request = call(route=ROUTE).replace(url="https://api.test/base/v1/x", base_url="https://api.test/base")
    stream = Streamed(
        [b"x"], headers=oo.Headers({"Link": ", ".join(f"</base/a-long-name-{number}>" for number in range(60))})
    )
    leaving = asyncio.create_task(through(LeadBack(), request, stream))
    await asyncio.sleep(0)
    leaving.cancel()
    await asyncio.wait([leaving])
    assert (leaving.cancelled(), stream.left) == (True, True)
