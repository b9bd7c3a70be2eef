"""The README's code runs as printed, its commands exist, and its links lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from cdifast.cli import app

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()


def test_python_blocks_run_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    assert len(blocks) == 4
    names: dict[str, Any] = {}
    for block in blocks:
        assert len([line for line in block.splitlines() if line and not line.startswith("import")]) <= 5
        exec(block, names)
    assert names["y"].shape == names["x"].shape
    assert names["x"].grad is not None
    assert names["network_input"].shape == (32, 1, 112, 112)
    assert [images.shape for images, _ in names["batches"]] == [(4, 1, 64, 64)] * 2


def test_commands_and_options_exist() -> None:
    commands = get_command(app).commands  # type: ignore[attr-defined]
    lines = re.findall(r"^cdifast ([\w-]+)(.*)$", README, flags=re.MULTILINE)
    assert {name for name, _ in lines} == set(commands) - {"quickstart"}
    for name, rest in lines:
        known = {option for parameter in commands[name].params for option in parameter.opts}
        for option in re.findall(r"(?<= )--?[a-z-]+", rest):
            assert option in known, (name, option)


def test_make_targets_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    assert set(re.findall(r"make ([a-z-]+)", README)) <= targets


def test_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert (ROOT / target).exists(), target
