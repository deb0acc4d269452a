"""How `oo serve` is to run: what its options, its file and its environment say, for every worker. Pure."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, replace

from .audit_log import AuditSettings

GRACE = 30.0
"""Seconds that calls under way are given when the gateway ends."""


@dataclass(frozen=True)
class ServeSettings:
    """How a gateway runs.

    Attributes:
        tls: a certificate chain and its key, both PEM files.
        plugins: the names of those to load.
        grace: seconds that calls under way are given when the gateway ends.
        max_conns: connections that a worker holds at once, or None for as many as it can.
        elsewhere: whether tunnels lead to where no route goes, too.
        shared: whether other processes listen on the same port.
        log_format: "text" or "json"; `log_level`: "debug", "info", "warning" or "error".
        access_log: whether there is a line on standard error for each call.
        traces: whether each call is a span that is sent to a collector.
        admin: where administrators are answered, "HOST:PORT" or the path of a Unix socket; None for nowhere.
        metrics_dir: where the workers count for those.
        metrics_token_file: the file of the token that they show.
    """

    tls: tuple[str, str] | None = None
    plugins: tuple[str, ...] = ()
    audit: AuditSettings = field(default_factory=AuditSettings)
    workers: int = 1
    grace: float = GRACE
    max_conns: int | None = None
    elsewhere: bool = False
    shared: bool = False
    log_format: str = "text"
    log_level: str = "info"
    access_log: bool = False
    traces: bool = False
    admin: str | None = None
    metrics_token_file: str | None = None
    metrics_dir: str = ""

    def to_json(self) -> str:
        """The settings as a worker is given them. There is no secret in them."""
        return json.dumps(asdict(self))

    @staticmethod
    def from_json(text: str) -> ServeSettings:
        """The settings that `to_json` wrote."""
        known = json.loads(text)
        audit = known.pop("audit")
        tls = known.pop("tls")
        audit["proxies"] = tuple(audit["proxies"])
        known["plugins"] = tuple(known["plugins"])
        return ServeSettings(audit=AuditSettings(**audit), tls=None if tls is None else (tls[0], tls[1]), **known)

    def is_same(self, other: ServeSettings) -> bool:
        """Whether a worker runs in the same way with either."""
        return replace(self, workers=other.workers) == other
