"""Slow callers, in a process of their own: `python -m tests.support.attackers URL SECONDS KIND=COUNT ...`, with a token
for a secret and one for a route on standard input. Says "up" when all are connected, and ends by itself.

silent sends nothing, half sends half a head, head one byte of a head a second, body one byte of a body a second, and
unread asks for the secret and reads no answer.
"""

from __future__ import annotations

import contextlib
import socket
import sys
import time
from urllib.parse import urlsplit


def main(url: str, seconds: str, *counts: str) -> None:
    secret, route = sys.stdin.read().split()
    begins = {
        "silent": b"",
        "half": b"GET /api/secret HTTP/1.1\r\nHost: x\r\nAuth",
        "head": b"GET /api/secret HTTP/1.1\r\nHost: x\r\nX-Long: ",
        "body": b"POST /api/proxy/x HTTP/1.1\r\nHost: x\r\nContent-Length: 9999\r\nAuthorization: Bearer %s\r\n\r\n"
        % route.encode(),
        "unread": b"GET /api/secret HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n\r\n" % secret.encode(),
    }
    address = urlsplit(url)
    dripping: list[socket.socket] = []
    held: list[socket.socket] = []
    for kind, _, count in (each.partition("=") for each in counts):
        for _ in range(int(count)):
            sock = socket.socket()
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
            sock.connect((address.hostname, address.port))
            with contextlib.suppress(OSError):  # it may have been cut off already
                sock.sendall(begins[kind])
            (dripping if kind in ("head", "body") else held).append(sock)
    print("up", flush=True)
    end = time.monotonic() + float(seconds)
    while time.monotonic() < end:
        time.sleep(1)
        for sock in dripping:
            with contextlib.suppress(OSError):
                sock.send(b"x")


if __name__ == "__main__":
    main(*sys.argv[1:])
