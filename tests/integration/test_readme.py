"""Every Python block of the README runs, against a real gateway and a real upstream."""

from __future__ import annotations

import json
import re
import warnings
from pathlib import Path
from types import ModuleType
from zipfile import ZipFile

import pytest

import oo
import oo.testing
from oo.gateway.audit_lines import begin_line
from oo.gateway.context import GatewayContext
from oo.testing import MockTransport
from tests.support.fresh import build, metadata
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


@pytest.mark.parametrize(
    "block", [block for block in BLOCKS if "def oo_middleware" in block], ids=["timer", "settings"]
)
def test_a_plugin_prints_nothing_where_a_value_may_be_read(block: str, capsys: pytest.CaptureFixture[str]) -> None:
    plugin = ModuleType("readme_plugin")
    exec(compile(block, "README.md", "exec"), vars(plugin))
    oo.register(plugin)
    try:
        with oo.Client(transport=MockTransport([{"value": "hello"}])) as client:
            assert client.get_secret("any-token") == "hello"
    finally:
        oo.unregister("readme_plugin")
    assert capsys.readouterr().out == ""


def test_the_first_plugin_is_a_distribution_that_can_be_installed(tmp_path: Path) -> None:
    tree = tmp_path / "timer"
    tree.mkdir()
    (tree / "oo_timer.py").write_text(next(block for block in BLOCKS if "class Timer" in block))
    (tree / "pyproject.toml").write_text(re.findall(r"^```toml\n(.*?)^```", README, re.M | re.S)[0])
    (wheel,) = build([tree], tmp_path / "wheels")
    made = metadata(wheel)
    assert [(point.group, point.name, point.value) for point in made.entry_points] == [("oo", "timer", "oo_timer")]
    assert "oo_timer.py" in ZipFile(wheel).namelist()


def test_the_table_of_the_audit_names_every_key() -> None:
    table = README.partition("| key | holds |")[2].partition("\n\n")[0]
    named = [
        key for row in table.splitlines() for key in re.findall(r"`(\w+)`", row.split("|")[1] if "|" in row else "")
    ]
    assert sorted(named) == sorted(json.loads(begin_line(GatewayContext())))
