"""Contestants that are no real ones."""

import sys
from pathlib import Path

from benchmarks.contestants import PEERS, Entry

FAKE = Path(__file__).resolve().parent / "fake_peer.py"


def fake(name: str, speed: float = 1.0, fault: str = "", *, peer: bool = True) -> Entry:
    command = (sys.executable, str(FAKE), str(speed), fault)
    return Entry(name, command, {"PYTHONPATH": str(PEERS)}, {}, peer=peer, commit="abc1234")


def script(name: str, body: str) -> Entry:
    """A process that runs `body` and follows no protocol unless that does."""
    return Entry(name, (sys.executable, "-c", body), {}, {}, peer=True)
