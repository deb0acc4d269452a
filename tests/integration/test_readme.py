"""Every Python block of the README runs, against a real gateway and a real upstream."""

from __future__ import annotations

import re
import warnings
from pathlib import Path

import pytest

import oo.testing
from tests.support.upstream import OpenAI

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```", README, re.M | re.S)


def test_the_readme_has_blocks_to_run() -> None:
    assert len(BLOCKS) > 10


@pytest.mark.parametrize("block", BLOCKS, ids=[str(number) for number in range(len(BLOCKS))])
def test_block_runs(
    block: str,
    gateway: oo.testing.LocalGateway,
    openai: OpenAI,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("speech.wav").write_bytes(b"a file that a block sends")
    monkeypatch.setenv("OO_BASE_URL", gateway.url)
    for name, token in {
        "YOUR_TOKEN": gateway.secret("greeting", "hello"),
        "YOUR_ENV_TOKEN": gateway.environment("web", {"README_MODE": "test"}),
        "YOUR_PROXY_TOKEN": gateway.route("openai", openai.url, {"Authorization": "Bearer {greeting}"}),
        "http://127.0.0.1:3001": gateway.url,
    }.items():
        block = block.replace(name, token)
    monkeypatch.setenv("README_MODE", "")  # what a block sets is undone only where it was set before
    monkeypatch.delenv("README_MODE")
    with warnings.catch_warnings():
        # The block for older FastAPIs uses what newer ones deprecate.
        warnings.filterwarnings("ignore", message="(?s).*on_event is deprecated", category=DeprecationWarning)
        exec(compile(block, "README.md", "exec"), {"__name__": "readme"})
