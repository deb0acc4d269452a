"""What is kept of the first answer to an idempotent call: which statuses, for how long, and how much."""

from __future__ import annotations

KEPT = 24 * 3600.0
"""Seconds that a call is known, and its answer kept."""

MAX_KEPT = 16 << 20
"""Bytes that one answer may hold to be kept."""

MAX_OF_TOKEN = 64 << 20
"""Bytes of the disk that the answers to one token's calls take. The oldest are dropped first."""

MAX_OF_ALL = 1 << 30
"""Bytes of the disk that all answers take. The oldest are dropped first."""

MAX_CALLS = 100_000
"""Calls of one token that are known. The oldest are forgotten first."""

SPARED = 128 << 20
"""Bytes of the disk that answers leave free: with less, they take no more room than they have."""

_CALLERS_FAULT = frozenset({400, 405, 410, 413, 414, 415, 422})
_DONE_ELSEWHERE = frozenset({302, 303})


def is_kept(status: int) -> bool:
    """Whether a repeat of a call could not better an answer of that status, so that it gets the same one.

    That is what succeeded, what failed by the call's own fault, and a redirect that tells of a POST which was made
    (RFC 9110, 15.4.3 and 15.4.4). After any other answer the key is free: the right may be given, the thing appear,
    the conflict pass, the server recover; and a 300, 301, 304, 307 or 308 says that nothing was done.
    """
    return 200 <= status < 300 or status in _CALLERS_FAULT or status in _DONE_ELSEWHERE
