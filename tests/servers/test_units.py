"""The unit of the service as systemd reads it: its own tool finds nothing wrong with it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from brokerkit.cli.bpbroker_service import Systemd
from tests.servers.programs import SECONDS, find

ROOT = Path(__file__).parents[2]


def verify(unit: Path) -> str:
    """Give what systemd has to say against a unit; it is looked at, and not started."""
    line = [find("systemd-analyze"), "verify", "--man=no", str(unit)]
    done = subprocess.run(line, capture_output=True, text=True, timeout=SECONDS, check=False)
    return f"{done.stdout}{done.stderr}".strip() or ("" if done.returncode == 0 else str(done.returncode))


@pytest.mark.parametrize("config", [None, Path("/etc/bpbroker.json"), Path('/srv/50% "of" $it \\ here.json')])
def test_the_unit(tmp_path: Path, config: Path | None) -> None:
    """It is taken as it is written, whatever the configuration is called."""
    unit = tmp_path / "bpbroker.service"
    unit.write_text(Systemd(Path("/")).text(config), encoding="utf-8")
    assert verify(unit) == ""


def test_a_unit_that_is_none(tmp_path: Path) -> None:
    """The tool does look."""
    unit = tmp_path / "bpbroker.service"
    unit.write_text("[Service]\nExecStart=relative\nNonsense=1\n", encoding="utf-8")
    assert "Nonsense" in verify(unit)
