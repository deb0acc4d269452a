"""A primary and its synchronous standby, two real PostgreSQL engines."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.support.postgres import engine_in, run, say


class Pair:
    """A primary and its synchronous standby, on two ports that change their roles."""

    def __init__(self, binaries: Path, name: str) -> None:
        self.primary = engine_in(binaries, f"{name}-a")
        self.standby = engine_in(binaries, f"{name}-b")
        ports = f"127.0.0.1:{self.primary.port},127.0.0.1:{self.standby.port}"
        self.place = f"postgres://postgres@{ports}/postgres"

    def start(self) -> None:
        self.primary.init()
        self.primary.start()
        self.attach()

    def attach(self) -> None:
        """Make the other one the synchronous standby of the primary."""
        standby = self.standby
        source = ("-h", "127.0.0.1", "-p", str(self.primary.port), "-U", "postgres")
        standby.call("pg_basebackup", "-D", str(standby.data), "-R", "-X", "stream", "-c", "fast", *source)
        with open(standby.data / "postgresql.auto.conf", "a") as settings:
            settings.write("\nsynchronous_standby_names = ''\n")
        standby.start()
        for statement in (
            "ALTER SYSTEM SET synchronous_standby_names = '*'",
            "SELECT pg_reload_conf()",
            "SELECT pg_sleep(0.3)",
        ):
            run(say(self.primary.url, statement))

    def replace(self) -> None:
        """Kill the primary, and make its standby the new one."""
        self.primary.kill()
        self.standby.call("pg_ctl", "promote", "-w", "-D", str(self.standby.data))
        self.primary, self.standby = self.standby, self.primary

    def renew(self) -> None:
        """Give the new primary a standby, where the old one was."""
        shutil.rmtree(self.standby.data)
        self.attach()

    def stop(self) -> None:
        for each in (self.primary, self.standby):
            each.stop()
