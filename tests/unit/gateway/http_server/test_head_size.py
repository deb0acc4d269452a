from __future__ import annotations

import pytest

from oo.gateway.http_server.head_size import MAX_HEAD, MAX_URL, HeadSize, refusal

URL = b"/" + b"u" * (MAX_URL - 1)
REST = b"Host: x\r\n\r\n"


def head(size: int, url: bytes = b"/") -> bytes:
    """A head of so many bytes."""
    line = b"GET " + url + b" HTTP/1.1\r\n"
    return line + b"X: " + b"x" * (size - len(line) - len(REST) - 5) + b"\r\n" + REST


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (head(100), None),
        (head(MAX_HEAD), None),
        (head(MAX_HEAD + 1), 431),
        (head(MAX_HEAD, URL), None),
        (head(MAX_HEAD, URL + b"u"), 414),
        (head(MAX_HEAD + 1, URL + b"u"), 414),
        (b"GET " + URL, None),
        (b"GET " + URL + b"u", 414),
        (b"GET " + URL + b"\r\n", None),
        (b"x" * MAX_HEAD, None),
        (b"x" * (MAX_HEAD + 1), 431),
    ],
    ids=[
        "small", "the largest", "a byte more", "the longest URL", "a longer URL", "both",
        "a part of a URL", "a longer part", "no version", "no URL", "no URL, more",
    ],
)  # fmt: skip
def test_a_head_and_its_url_have_a_size(data: bytes, status: int | None) -> None:
    assert refusal(data) == status


@pytest.mark.parametrize("step", [1, 1000, 16_000, 40_000])
@pytest.mark.parametrize(
    ("data", "status"), [(head(MAX_HEAD), None), (head(MAX_HEAD + 1), 431), (head(20_000, URL + b"u"), 414)]
)
def test_it_is_counted_as_it_comes(data: bytes, status: int | None, step: int) -> None:
    counting = HeadSize()
    found = [counting.add(data[at : at + step])[1] for at in range(0, len(data), step)]
    assert next((each for each in found if each is not None), None) == status


@pytest.mark.parametrize("step", [1, 1000, 70_000])
def test_empty_lines_before_a_head_are_none_of_it(step: int) -> None:
    counting, data = HeadSize(), b"\r\n" * MAX_HEAD + head(MAX_HEAD)
    found = [counting.add(data[at : at + step]) for at in range(0, len(data), step)]
    assert sum(size for size, _ in found) == len(data)
    assert not any(status for _, status in found)


def test_each_head_is_counted_by_itself() -> None:
    counting = HeadSize()
    for _ in range(3):
        assert counting.add(head(MAX_HEAD)) == (MAX_HEAD, None)
        counting.end()


@pytest.mark.parametrize("cut", [1, 50, 96, 97, 98, 99])
def test_what_follows_a_head_is_none_of_it(cut: int) -> None:
    counting, data = HeadSize(), head(100) + b"b" * MAX_HEAD
    assert [counting.add(data[:cut]), counting.add(data[cut:])] == [(cut, None), (100 - cut, None)]


@pytest.mark.parametrize(
    ("data", "names"),
    [
        (b"GTE /x HTTP/1.1\r\nHost: x\r\n\r\n", True),
        (b"M-SEARCH * HTTP/1.0\n\n", True),
        (b"\x16\x03\x01 /x HTTP/1.1\r\n", False),
        (b"NOT HTTP\r\n\r\n", False),
        (b"FOO bar baz\r\n\r\n", False),
    ],
)
def test_a_head_names_a_method_where_it_begins_as_one_of_http(data: bytes, names: bool) -> None:
    counting = HeadSize()
    counting.add(data)
    assert counting.names_method is names
