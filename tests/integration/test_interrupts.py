"""Ctrl-C at every line of a call: whoever waits for that call is answered, and the client serves on."""

from __future__ import annotations

import linecache
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import cachetools
import pytest

import oo
from oo._core.io import BlockingIO
from oo.transports.requests import RequestsTransport
from tests.support.faults import answer, serving
from tests.support.waiting import PATIENCE, Watched

pytestmark = pytest.mark.campaign

ROOTS = tuple(str(Path(module.__file__).parent) for module in (oo, cachetools))


class Blow:
    """Raises KeyboardInterrupt as a thread comes to its line number `at`, the call of a function being one."""

    def __init__(self, at: int) -> None:
        self.left = at

    def falls_on(self, call: Callable[[], object]) -> bool:
        """Whether `call` came that far. It is made on a thread of its own: one struck in an `except` by a trace
        function, though by no signal, goes on as if that exception were being handled."""

        def struck() -> None:
            before = sys.gettrace()
            sys.settrace(self._trace)
            try:
                call()
            except KeyboardInterrupt:
                pass
            finally:
                sys.settrace(before)

        thread = threading.Thread(target=struck, daemon=True)
        thread.start()
        thread.join(PATIENCE)
        assert not thread.is_alive()
        return self.left <= 0

    def _trace(self, frame: FrameType, event: str, _: Any) -> Any:
        file = frame.f_code.co_filename
        if not file.startswith(ROOTS):
            return None
        # No signal is seen between the last line of a `with` block and `__exit__`, where that line has an event again.
        if event == "call" or (
            event == "line" and not linecache.getline(file, frame.f_lineno).strip().startswith("with ")
        ):
            self.left -= 1
            if self.left == 0:
                raise KeyboardInterrupt
        return self._trace


# What was struck down while it was being made tells Python so when it goes: a coroutine, http.client's response.
@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_interrupt_at_any_line_leaves_nobody_waiting() -> None:
    watched = Watched(BlockingIO())
    answers: list[Any] = []
    company: list[threading.Thread] = []
    striking = False

    def wait(token: str) -> None:
        try:
            answers.append(client.get_secret(token, 60))
        except BaseException as error:
            answers.append(error)

    async def in_company(request: oo.Request, call_next: oo.CallNext) -> oo.Response:
        if striking and not company:
            tracing = sys.gettrace()
            sys.settrace(None)
            watched.waiting = 0
            company.append(threading.Thread(target=wait, args=(request.context.token,), daemon=True))
            company[0].start()
            assert watched.until(1)
            sys.settrace(tracing)
        return await call_next(request)

    def echo(request: bytes) -> bytes:
        return answer(b'{"value": "%b"}' % request.split(b"Bearer ")[1].split(b"\r\n")[0])

    transport: Any = RequestsTransport()
    transport.io = watched
    with serving(reply=echo) as server:
        first, *rest = oo.default_middleware(retries=1, cache=oo.SecretCache(2))
        chain = [first, in_company, *rest]
        client = oo.Client(server.url, PATIENCE, deadline=PATIENCE, middleware=chain, transport=transport)
        line = 0
        fell = True
        while fell:
            line += 1
            token = f"token-{line}"
            striking = True
            fell = Blow(line).falls_on(lambda token=token: client.get_secret(token, 60))
            striking = False
            if company:
                company.pop().join(PATIENCE)
                assert answers.pop() == token, line
            others = [token, *(f"{token}-{n}" for n in range(2))]
            assert [client.get_secret(each, 60) for each in others] == others, line
            client.invalidate_cache(token)
        assert line > 100
        client.close()
