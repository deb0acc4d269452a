"""Fuzzing with atheris: `python -m tests.fuzz responses -max_total_time=300`, or `requests`, or `proxied`. Options are
libFuzzer's.

What a run finds is written to a file named crash-..., which the same command takes as an argument to show it again.
Where atheris has no wheel, the tests of the seeds are all there is.
"""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

try:
    import atheris
except ImportError:
    sys.exit("atheris is not here: pyproject.toml tells where it has wheels")

TARGETS = ("requests", "responses", "proxied")


def main() -> None:
    if len(sys.argv) < 2 or sys.argv[1] not in TARGETS:
        sys.exit(f"usage: python -m tests.fuzz {{{','.join(TARGETS)}}} [libFuzzer options] [inputs]")
    with atheris.instrument_imports(include=["oo"]):
        target = importlib.import_module(f"tests.fuzz.{sys.argv[1]}")
    with TemporaryDirectory(prefix="oo-fuzz-") as directory:
        arguments = [sys.argv[0], "-max_len=4096", "-timeout=20", *sys.argv[2:]]
        if not any(Path(each).is_file() for each in sys.argv[2:]):
            arguments += [f"-dict={_dictionary(Path(directory), target.WORDS)}", _corpus(Path(directory), target.SEEDS)]
        # libFuzzer ends its process at once, and would leave the directory behind.
        if os.fork() == 0:
            atheris.Setup(arguments, target.one)
            atheris.Fuzz()
        _, status = os.wait()
    sys.exit(os.waitstatus_to_exitcode(status))


def _dictionary(directory: Path, words: tuple[bytes, ...]) -> str:
    file = directory / "words"
    file.write_text("".join('"' + "".join(f"\\x{byte:02x}" for byte in word) + '"\n' for word in words))
    return str(file)


def _corpus(directory: Path, seeds: tuple[bytes, ...]) -> str:
    corpus = directory / "corpus"
    corpus.mkdir()
    for number, seed in enumerate(seeds):
        (corpus / str(number)).write_bytes(seed)
    return str(corpus)


main()
