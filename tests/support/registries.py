"""What programs are served by: OpenAI's and Anthropic's shapes, a WebSocket, a git host, a Python index, an npm
registry."""

from __future__ import annotations

import asyncio
import base64
import gzip
import hashlib
import io
import json
import tarfile
import zipfile
from pathlib import Path
from typing import Any

from aiohttp import web

from tests.support.private_hosts import OpenAIOverTLS

PACKAGE = "oo_served_package"
_ANTHROPIC = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "claude",
    "content": [{"type": "text", "text": "Hello to you."}],
    "stop_reason": "end_turn",
    "stop_sequence": None,
    "usage": {"input_tokens": 1, "output_tokens": 3},
}


class Registries(OpenAIOverTLS):
    """Serves all of them at one URL. Whoever shows another key than `key` gets a 401. `repositories` holds the git
    repositories, bare."""

    key = ""
    repositories = Path("/nonexistent")

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        shown = request.headers.get("Authorization", "")
        if shown != f"Bearer {self.key}":
            self.seen.append({"path": request.raw_path, "headers": request.headers.copy()})
            return web.Response(status=401, text="who are you?", headers={"WWW-Authenticate": "Basic"})
        place = request.path
        if place.startswith("/git/"):
            self.seen.append({"path": request.raw_path, "headers": request.headers.copy()})
            return await self._git(request)
        if place.startswith(("/simple/", "/npm/", "/files/", "/socket", "/v1/messages")):
            self.seen.append({"path": request.raw_path, "headers": request.headers.copy()})
            return await self._other(request, place)
        return await super().handle(request)

    async def _other(self, request: web.BaseRequest, place: str) -> web.StreamResponse:
        if place == "/socket":
            socket = web.WebSocketResponse()
            await socket.prepare(request)
            async for message in socket:
                await socket.send_str(f"{message.data} {request.headers['Authorization']}")
            return socket
        if place == "/v1/messages":
            await request.read()
            return web.json_response(_ANTHROPIC)
        wheel, tarball = _wheel(), _tarball()
        if place.startswith("/files/"):
            return web.Response(body=wheel if place.endswith(".whl") else tarball)
        if place.startswith("/npm/"):
            return web.json_response(_npm(f"{self.url}/files/{PACKAGE}-1.0.0.tgz", tarball))
        name = f"{PACKAGE}-1.0-py3-none-any.whl"
        link = f'<a href="/files/{name}#sha256={hashlib.sha256(wheel).hexdigest()}">{name}</a>'
        return web.Response(text=f"<!DOCTYPE html><html><body>{link}</body></html>", content_type="text/html")

    async def _git(self, request: web.BaseRequest) -> web.StreamResponse:
        """As git-http-backend(1) has it."""
        environ = {
            "GIT_PROJECT_ROOT": str(self.repositories),
            "GIT_HTTP_EXPORT_ALL": "1",
            "PATH_INFO": request.path.removeprefix("/git"),
            "QUERY_STRING": request.query_string,
            "REQUEST_METHOD": request.method,
            "REMOTE_USER": "tests",
            "CONTENT_TYPE": request.headers.get("Content-Type", ""),
            "HTTP_CONTENT_ENCODING": request.headers.get("Content-Encoding", ""),
            "HTTP_GIT_PROTOCOL": request.headers.get("Git-Protocol", ""),
            "PATH": "/usr/bin:/bin",
        }
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec("git", "http-backend", stdin=pipe, stdout=pipe, env=environ)
        assert process.stdin is not None
        assert process.stdout is not None

        async def send() -> None:
            assert process.stdin is not None
            try:
                async for piece in request.content.iter_any():
                    process.stdin.write(piece)
                    await process.stdin.drain()
            except ConnectionError:
                pass
            process.stdin.close()

        sending = asyncio.ensure_future(send())
        head = (await process.stdout.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        fields = [tuple(line.split(": ", 1)) for line in head if line]
        status = int(dict(fields).pop("Status", "200").partition(" ")[0])
        answer = web.StreamResponse(status=status, headers={n: v for n, v in fields if n != "Status"})  # type: ignore[misc]
        await answer.prepare(request)
        while piece := await process.stdout.read(1 << 16):
            await answer.write(piece)
        await sending
        await process.wait()
        return answer


def _wheel() -> bytes:
    info = f"{PACKAGE}-1.0.dist-info"
    files = {
        f"{PACKAGE}.py": "WORD = 'served'\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {PACKAGE}\nVersion: 1.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{name},,\n" for name in [*files, f"{info}/RECORD"])
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for name, text in {**files, f"{info}/RECORD": record}.items():
            archive.writestr(zipfile.ZipInfo(name), text)
    return made.getvalue()


def _tarball() -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        for name, text in (
            ("package/package.json", json.dumps({"name": PACKAGE, "version": "1.0.0", "main": "index.js"})),
            ("package/index.js", "module.exports = 'served'\n"),
        ):
            entry = tarfile.TarInfo(name)
            entry.size = len(text)
            archive.addfile(entry, io.BytesIO(text.encode()))
    return gzip.compress(made.getvalue(), mtime=0)


def _npm(url: str, tarball: bytes) -> dict[str, Any]:
    integrity = "sha512-" + base64.b64encode(hashlib.sha512(tarball).digest()).decode()
    version = {"name": PACKAGE, "version": "1.0.0", "dist": {"tarball": url, "integrity": integrity}}
    return {"name": PACKAGE, "dist-tags": {"latest": "1.0.0"}, "versions": {"1.0.0": version}}
