from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from oo.gateway import audit_sinks
from oo.gateway.audit_sinks import AppendedFile, StandardOutput, open_sink


@pytest.fixture(autouse=True)
def always(monkeypatch: pytest.MonkeyPatch) -> None:
    """The file's name is looked up for each line."""
    monkeypatch.setattr(audit_sinks, "_FRESH", -1.0)


def rename(path: Path) -> None:
    path.rename(path.with_suffix(".1"))


def rename_and_make(path: Path) -> None:  # logrotate's "create"
    rename(path)
    path.touch(0o600)


def delete(path: Path) -> None:
    path.unlink()


def truncate(path: Path) -> None:  # logrotate's "copytruncate"
    os.truncate(path, 0)


@pytest.mark.parametrize("rotate", [rename, rename_and_make, delete, truncate])
def test_lines_go_where_the_name_leads(tmp_path: Path, rotate: object) -> None:
    path = tmp_path / "audit"
    sink = AppendedFile(path)
    sink.write(b"before\n")
    rotate(path)  # type: ignore[operator]
    sink.write(b"after\n")
    sink.write(b"later\n")
    assert path.read_bytes() == b"after\nlater\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    kept = path.with_suffix(".1")
    assert not kept.exists() or kept.read_bytes() == b"before\n"
    sink.close()


def test_the_name_is_not_looked_up_for_every_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_sinks, "_FRESH", 3600.0)
    path = tmp_path / "audit"
    sink = AppendedFile(path)
    rename(path)
    sink.write(b"a\n")
    assert path.with_suffix(".1").read_bytes() == b"a\n"
    sink.reopen()
    sink.write(b"b\n")
    assert path.read_bytes() == b"b\n"
    sink.close()


def test_a_file_that_cannot_be_opened_anew_is_a_failure_until_it_can(tmp_path: Path) -> None:
    folder = tmp_path / "logs"
    folder.mkdir()
    sink = AppendedFile(folder / "audit")
    folder.rename(tmp_path / "away")
    for _ in range(2):
        with pytest.raises(FileNotFoundError):
            sink.write(b"lost\n")
    folder.mkdir()
    sink.write(b"kept\n")
    assert (folder / "audit").read_bytes() == b"kept\n"
    sink.close()


def write_much(sink: AppendedFile) -> None:
    for _ in range(10_000):
        sink.write(b"x" * 99 + b"\n")


def test_a_pipe_that_nobody_reads_holds_nobody_up(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    with pytest.raises(OSError, match="No such device"):
        AppendedFile(path)
    reading = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    sink = AppendedFile(path)
    with pytest.raises(OSError, match=r"temporarily unavailable|no room"):
        write_much(sink)
    while len(os.read(reading, 1 << 16)) == 1 << 16:
        pass
    sink.write(b"goes on\n")
    assert os.read(reading, 1 << 16).endswith(b"goes on\n")
    os.close(reading)
    sink.close()


STANDARD_OUTPUT = """
import os, sys
from oo.gateway.audit_sinks import open_sink
sink = open_sink("-")
for n in range(int(sys.argv[1])):
    try:
        sink.write(b"x" * 999 + bytes([10]))
    except OSError as error:
        print(n, error.strerror, file=sys.stderr)
        break
sink.reopen()
sink.close()
"""


@pytest.mark.parametrize(("count", "said"), [(3, ""), (100_000, "standard output is not read")])
def test_standard_output_takes_lines_and_holds_nobody_up(count: int, said: str) -> None:
    reading, writing = os.pipe()
    command = [sys.executable, "-c", STANDARD_OUTPUT, str(count)]
    done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, text=True)
    os.close(writing)
    assert done.returncode == 0
    assert said in done.stderr
    assert bool(said) is bool(done.stderr)
    with os.fdopen(reading, "rb") as file:
        lines = file.read().splitlines()
    assert set(lines) == {b"x" * 999}
    assert len(lines) == count or said


def test_a_name_is_a_file_or_standard_output(tmp_path: Path) -> None:
    assert isinstance(open_sink("-"), StandardOutput)
    made = open_sink(str(tmp_path / "a"))
    assert isinstance(made, AppendedFile)
    made.close()
    with pytest.raises(FileNotFoundError):
        open_sink(tmp_path / "none" / "a")


def test_a_line_can_be_written_where_there_is_a_place_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "log" / "audit"
    path.parent.mkdir()
    sink = AppendedFile(path)
    sink.check()
    path.unlink()
    sink.check()
    assert path.exists()  # whoever asks has it opened anew
    monkeypatch.setattr(audit_sinks, "_is_full", lambda _disk: True)
    with pytest.raises(OSError, match="no room"):
        sink.check()
    sink.close()


def test_a_directory_that_is_gone_takes_no_line(tmp_path: Path) -> None:
    path = tmp_path / "log" / "audit"
    path.parent.mkdir()
    sink = AppendedFile(path)
    path.unlink()
    path.parent.rmdir()
    with pytest.raises(FileNotFoundError):
        sink.check()
    sink.close()


@pytest.mark.parametrize(("blocks", "free", "full"), [(0, 0, False), (10, 0, True), (10, 1, False)])
def test_a_disk_without_a_size_is_not_full(blocks: int, free: int, full: bool) -> None:
    disk = os.statvfs_result((4096, 4096, blocks, free, free, 0, 0, 0, 0, 255))
    assert audit_sinks._is_full(disk) is full
