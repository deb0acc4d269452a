"""Against the vectors that AWS publishes: its Signature Version 4 test suite, and the examples of S3's documents."""

from __future__ import annotations

import hashlib

import pytest

from oo.gateway.credentials.aws_signature import (
    Scope,
    canonical_headers,
    canonical_path,
    canonical_query,
    canonical_request,
    host_of,
    signature,
)

SUITE = Scope("20150830T123600Z", "us-east-1", "service")
SUITE_KEY = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
S3 = Scope("20130524T000000Z", "us-east-1", "s3")
S3_KEY = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
EMPTY = hashlib.sha256().hexdigest()


def signed(key: str, scope: Scope, method: str, url: str, headers: list[tuple[str, str]], digest: str) -> str:
    query = canonical_query(url.partition("?")[2])
    path = canonical_path(url, is_s3=scope.service == "s3")
    return signature(key, scope, canonical_request(method, path, query, canonical_headers(headers), digest))


@pytest.mark.parametrize(
    ("name", "method", "target", "headers", "body", "expected"),
    [
        ("get-vanilla", "GET", "/", [], b"", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
        (
            "get-vanilla-query-order-key-case",
            "GET",
            "/?Param2=value2&Param1=value1",
            [],
            b"",
            "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
        ),
        (
            "get-vanilla-query-unreserved",
            "GET",
            "/?-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
            "=-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz",
            [],
            b"",
            "9c3e54bfcdf0b19771a7f523ee5669cdf59bc7cc0884027167c21bb143a40197",
        ),
        (
            "get-vanilla-utf8-query",
            "GET",
            "/?ሴ=bar",
            [],
            b"",
            "2cdec8eed098649ff3a119c94853b13c643bcf08f8b0a1d91e12c9027818dd04",
        ),
        ("get-utf8", "GET", "/ሴ", [], b"", "8318018e0b0f223aa2bbf98705b62bb787dc9c0e678f255a891fd03141be5d85"),
        (
            "get-relative-relative",
            "GET",
            "/example1/example2/../..",
            [],
            b"",
            "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
        ),
        (
            "get-slashes",
            "GET",
            "//example//",
            [],
            b"",
            "9a624bd73a37c9a373b5312afbebe7a714a789de108f0bdfe846570885f57e84",
        ),
        ("get-slash", "GET", "//", [], b"", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
        (
            "get-header-value-trim",
            "GET",
            "/",
            [("My-Header1", " value1"), ("My-Header2", ' "a   b   c"')],
            b"",
            "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736",
        ),
        (
            "get-header-key-duplicate",
            "GET",
            "/",
            [("My-Header1", "value2"), ("My-Header1", "value2"), ("My-Header1", "value1")],
            b"",
            "c9d5ea9f3f72853aea855b47ea873832890dbdd183b4468f858259531a5138ea",
        ),
        ("post-vanilla", "POST", "/", [], b"", "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"),
        (
            "post-x-www-form-urlencoded",
            "POST",
            "/",
            [("Content-Type", "application/x-www-form-urlencoded")],
            b"Param1=value1",
            "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a",
        ),
    ],
)
def test_the_suite_of_aws(
    name: str, method: str, target: str, headers: list[tuple[str, str]], body: bytes, expected: str
) -> None:
    headers = [("Host", "example.amazonaws.com"), ("X-Amz-Date", SUITE.stamp), *headers]
    url = f"https://example.amazonaws.com{target}"
    assert signed(SUITE_KEY, SUITE, method, url, headers, hashlib.sha256(body).hexdigest()) == expected


@pytest.mark.parametrize(
    ("name", "method", "target", "headers", "body", "expected"),
    [
        (
            "GET object",
            "GET",
            "/test.txt",
            [("Range", "bytes=0-9")],
            b"",
            "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
        ),
        (
            "PUT object",
            "PUT",
            "/test$file.text",
            [("Date", "Fri, 24 May 2013 00:00:00 GMT"), ("x-amz-storage-class", "REDUCED_REDUNDANCY")],
            b"Welcome to Amazon S3.",
            "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd",
        ),
        (
            "GET bucket lifecycle",
            "GET",
            "/?lifecycle",
            [],
            b"",
            "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543",
        ),
        (
            "list objects",
            "GET",
            "/?max-keys=2&prefix=J",
            [],
            b"",
            "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
        ),
    ],
)
def test_the_examples_of_s3(
    name: str, method: str, target: str, headers: list[tuple[str, str]], body: bytes, expected: str
) -> None:
    digest, host = hashlib.sha256(body).hexdigest(), "examplebucket.s3.amazonaws.com"
    headers = [*headers, ("host", host), ("x-amz-content-sha256", digest), ("x-amz-date", S3.stamp)]
    assert signed(S3_KEY, S3, method, f"https://{host}{target}", headers, digest) == expected


@pytest.mark.parametrize(
    ("path", "for_s3", "for_others"),
    [
        ("", "/", "/"),
        ("/", "/", "/"),
        ("/a%20b", "/a%20b", "/a%2520b"),
        ("/k=v", "/k%3Dv", "/k%3Dv"),
        ("/k%3dv", "/k%3Dv", "/k%253dv"),
        ("/a//b/./c/../d/", "/a//b/./c/../d/", "/a/b/d/"),
        ("/..", "/..", "/"),
        ("/a/..", "/a/..", "/"),
        ("/a/b/..", "/a/b/..", "/a/"),
    ],
)
def test_paths(path: str, for_s3: str, for_others: str) -> None:
    assert canonical_path(f"https://h{path}?q", is_s3=True) == for_s3
    assert canonical_path(f"https://h{path}?q", is_s3=False) == for_others


@pytest.mark.parametrize(
    ("query", "canonical"),
    [
        ("", ""),
        ("&&", ""),
        ("b&a=", "a=&b="),
        ("a=2&a=1&a-=0", "a=1&a=2&a-=0"),
        ("a=x+y&b=x%2by", "a=x%20y&b=x%2By"),
        ("a=b=c/d", "a=b%3Dc%2Fd"),
    ],
)
def test_queries(query: str, canonical: str) -> None:
    assert canonical_query(query) == canonical


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://H.example/x", "h.example"),
        ("https://h:443/", "h"),
        ("http://h:443/", "h:443"),
        ("http://h:80", "h"),
        ("http://[::1]:9000/", "[::1]:9000"),
    ],
)
def test_hosts(url: str, host: str) -> None:
    assert host_of(url) == host
