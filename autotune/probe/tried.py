"""GPUs tried out: each in a process of its own, since a broken one may crash or hang it."""

import json
import subprocess
import sys
from dataclasses import replace

from autotune import plain
from autotune.machine import Device
from autotune.measure import classify_death

LIMIT_SECONDS = 300.0  # the import of torch, and compilers that run at first use


def tried(device: Device, limit_seconds: float = LIMIT_SECONDS) -> Device:
    """The device with the facts `tryout`, `unreliable` and `growth_bytes`. Never raises: a crash is a fact."""
    command = [sys.executable, "-m", "autotune.devices._tryout", json.dumps(plain.to_plain(device))]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=limit_seconds, check=False
        )
    except subprocess.TimeoutExpired:
        found = {"tryout": f"does not answer within {limit_seconds:g} s"}
    except OSError as error:
        found = {"tryout": f"no process can be started ({error.strerror})"}
    else:
        died = done.returncode != 0
        found = {"tryout": classify_death(done.returncode, done.stderr).reason} if died else json.loads(done.stdout)
    return replace(device, facts={**device.facts, **found})
