from __future__ import annotations

import asyncio
import logging
import os
import shutil
import socket
import ssl
import threading
from contextlib import nullcontext
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization

from oo.gateway import tls_files
from oo.gateway.errors import StoreError
from oo.gateway.tls_files import TLSFiles, load_sealed, server_context
from tests.support.certificates import self_signed
from tests.support.waiting import PATIENCE


@pytest.fixture
def made(tmp_path: Path) -> list[tuple[Path, Path]]:
    """Two certificates, each with its key."""
    found = []
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        certificate = self_signed(tmp_path / name, "127.0.0.1")
        found.append((Path(certificate.file), Path(certificate.both)))
    return found


@pytest.fixture
def files(made: list[tuple[Path, Path]], tmp_path: Path) -> TLSFiles:
    """What serves the first of them from files of its own."""
    put(made[0], tmp_path)
    return TLSFiles(str(tmp_path / "cert"), str(tmp_path / "key"))


def put(pair: tuple[Path, Path], place: Path) -> None:
    for source, name in zip(pair, ("cert", "key"), strict=True):
        shutil.copy(source, place / "new")
        os.replace(place / "new", place / name)


def shown(files: TLSFiles, name: str | None = None) -> bytes | None:
    """The certificate that a caller is shown."""
    ours, theirs = socket.socketpair()
    ours.settimeout(PATIENCE)
    context = ssl._create_unverified_context()

    def serve() -> None:
        with files.context.wrap_socket(theirs, server_side=True) as sock:
            sock.recv(1)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    with context.wrap_socket(ours, server_hostname=name) as sock:
        found = sock.getpeercert(binary_form=True)
        sock.sendall(b"x")
    thread.join(PATIENCE)
    return found


def der(path: Path) -> bytes:
    return ssl.PEM_cert_to_DER_cert(path.read_text())


@pytest.mark.parametrize("name", [None, "some.test"])
def test_a_handshake_is_given_the_files_that_were_read_last(
    files: TLSFiles, made: list[tuple[Path, Path]], tmp_path: Path, name: str | None
) -> None:
    assert shown(files, name) == der(made[0][0])
    put(made[1], tmp_path)
    files.reload()
    assert shown(files, name) == der(made[1][0])


def test_files_that_do_not_fit_change_nothing_and_are_logged(
    files: TLSFiles, made: list[tuple[Path, Path]], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.copy(made[1][0], tmp_path / "cert")  # the certificate of another key
    files.reload()
    (tmp_path / "key").unlink()
    files.reload()
    assert shown(files) == der(made[0][0])
    assert [record.levelname for record in caplog.records] == ["ERROR", "ERROR"]
    assert "the ones before are used" in caplog.text


async def test_a_change_is_noticed_by_itself(
    files: TLSFiles,
    made: list[tuple[Path, Path]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "oo.gateway")
    assert tls_files._INTERVAL < 10
    monkeypatch.setattr(tls_files, "_INTERVAL", 0.01)
    watching = asyncio.create_task(files.watch())
    await asyncio.sleep(0.1)
    assert caplog.messages == []
    put(made[1], tmp_path)
    end = asyncio.get_running_loop().time() + PATIENCE
    while await asyncio.to_thread(shown, files) != der(made[1][0]):
        assert asyncio.get_running_loop().time() < end
    watching.cancel()
    assert "the TLS files were read again" in caplog.messages


def test_files_that_are_not_there_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="do not fit: No such file"):
        server_context(str(tmp_path / "cert"), str(tmp_path / "key"))


@pytest.mark.parametrize("passphrase", [b"right", b"wrong"])
def test_a_sealed_key_is_loaded_and_nothing_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, passphrase: bytes
) -> None:
    made = self_signed(tmp_path, "127.0.0.1")
    key = serialization.load_pem_private_key(Path(made.file.replace(".pem", ".both")).read_bytes(), None)
    form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    sealed = key.private_bytes(*form, serialization.BestAvailableEncryption(b"right"))
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with nullcontext() if passphrase == b"right" else pytest.raises((OSError, ValueError)):
        load_sealed(context, Path(made.file).read_bytes() + b"\n" + sealed, passphrase)
    assert list(folder.iterdir()) == []
