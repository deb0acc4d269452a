"""StrictResponse: what is an answer, and what is none. The suite of faults holds both worlds to the same."""

from __future__ import annotations

import io
import subprocess
import sys
from http.client import HTTPException, HTTPResponse, RemoteDisconnected

import pytest

from oo.transports._urllib3_patches import StrictResponse
from oo.transports.strict_http import LONGEST_LINE, MOST_FIELDS

PRIVATE = ["begin", "_read_status", "_get_chunk_left", "_check_close", "_safe_read", "_close_conn", "_method"]


class Bytes:
    def __init__(self, data: bytes) -> None:
        self.data = data

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(io.BytesIO(self.data))  # type: ignore[arg-type]  # BytesIO is raw enough


def begun(data: bytes, method: str = "GET", must_close: bool = False) -> StrictResponse:
    response = StrictResponse(Bytes(data), method=method)  # type: ignore[arg-type]  # only its makefile is called
    response.must_close = must_close
    response.begin()
    return response


@pytest.mark.parametrize("name", PRIVATE)
def test_what_is_leaned_on_inside_http_client_is_there(name: str) -> None:
    plain = HTTPResponse(Bytes(b""), method="GET")  # type: ignore[arg-type]  # as above
    assert hasattr(plain, name)


def test_a_plain_response_has_the_attributes_that_are_set() -> None:
    plain = HTTPResponse(Bytes(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n"))  # type: ignore[arg-type]  # as above
    plain.begin()
    assert (plain.chunked, plain.chunk_left, plain.length, plain.will_close) == (True, None, None, False)  # type: ignore[attr-defined]  # http.client's own
    assert plain.fp.peek(1)
    assert plain.read1(9) == b"x"


@pytest.mark.parametrize(
    ("head", "body"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokxx", b"ok"),
        (b"HTTP/1.1 200\r\n\r\nto the end", b"to the end"),
        (b"HTTP/1.1 103 Early\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", b"ok"),
        (b"HTTP/1.1 204 No\r\nContent-Length: 9\r\n\r\nxx", b""),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n2 ;a\r\nok\r\n0\r\nX: y\r\n\r\n", b"ok"),
    ],
)
def test_an_answer_is_read(head: bytes, body: bytes) -> None:
    assert begun(head).read() == body


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/2 200 OK\r\n\r\n",
        b"SSH-2.0-x\r\n",
        b"HTTP/1.1 99 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n folded first\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * (MOST_FIELDS + 1) + b"\r\n",
        b"HTTP/1.1 200 OK\r\nA: " + b"b" * LONGEST_LINE + b"\r\n\r\n",
    ],
)
def test_what_is_no_answer_is_an_error(head: bytes) -> None:
    with pytest.raises(HTTPException) as caught:
        begun(head)
    assert not isinstance(caught.value, RemoteDisconnected)


@pytest.mark.parametrize("head", [b"", b"HTTP/1.", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nA: b\r\n"])
def test_what_is_cut_short_is_a_lost_connection(head: bytes) -> None:
    with pytest.raises(RemoteDisconnected):
        begun(head)


@pytest.mark.parametrize("size", [b"0x1", b"-1", b"", b"1_0", b"1" * 17])
def test_a_chunk_s_size_is_hexadecimal(size: bytes) -> None:
    with pytest.raises(HTTPException):
        begun(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + size + b"\r\nx\r\n0\r\n\r\n").read1(9)


def test_a_connection_may_have_to_be_closed() -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
    assert not begun(head).will_close
    assert begun(head, must_close=True).will_close


def test_the_asyncio_transport_does_not_load_the_blocking_ones_libraries() -> None:
    program = "import sys, oo.transports.aiohttp; sys.exit(bool({'urllib3', 'requests'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", program], timeout=60).returncode == 0
