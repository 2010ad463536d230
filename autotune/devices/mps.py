"""The GPU of Apple silicon, which shares its memory with the processor."""

import re
from dataclasses import dataclass

from autotune.devices import Found, Gauge, refuse
from autotune.devices.cpu import architecture
from autotune.machine import Device
from autotune.reader import Reader, whole_number

MIB = 1024**2
_NEEDS_MACOS_14 = (2, 9)  # torch releases from here on (pytorch issue 159275)


@dataclass(frozen=True, slots=True)
class MpsKind:
    kind: str = "mps"

    def find(self, reader: Reader) -> Found:
        if reader.system != "Darwin":
            return Found(reason=f"MPS exists on macOS only, and this is {reader.system}.")
        facts = reader.facts("sysctl")
        if architecture(reader) != "arm64":
            translated = facts.get("sysctl.proc_translated") == "1"
            why = "Python runs as an Intel program (Rosetta)" if translated else "this Mac has an Intel processor"
            return Found(reason=f"MPS needs Apple silicon, and {why}.")
        if facts.get("kern.hv_vmm_present") == "1":
            return Found(reason="MPS is not there in a virtual machine.")
        name = facts.get("machdep.cpu.brand_string", "Apple GPU")
        memory = whole_number(facts.get("hw.memsize")) or 0
        limit = whole_number(facts.get("iogpu.wired_limit_mb"))
        known = {"memory": "shared", **({"wired_limit_bytes": f"{limit * MIB}"} if limit else {})}
        device = Device("mps", 0, name, memory, name.lower().replace(" ", "_"), facts=known)
        torch, system = reader.package("torch"), facts.get("kern.osproductversion")
        if torch is None:
            device = refuse(device, "torch", f"{name} is there, but torch is not installed", "install torch")
        elif _numbers(torch) >= _NEEDS_MACOS_14 and (0,) < _numbers(system) < (14,):
            why = f"torch {torch} drives {name} from macOS 14 on, and this is macOS {system}"
            device = refuse(device, "system", why, "update macOS")
        return Found.of([device], "")

    def torch_name(self, device: Device) -> str:
        return "mps"

    def synchronize(self, torch_name: str) -> None:
        import torch

        torch.mps.synchronize()

    def memory_used(self, torch_name: str) -> int:
        import torch

        return torch.mps.driver_allocated_memory()

    def memory_peak(self, torch_name: str) -> int:
        """What is held now: torch records no peak for MPS, and its driver keeps what it once took."""
        return self.memory_used(torch_name)

    def reset_peak(self, torch_name: str) -> None:
        """No peak is recorded."""

    def empty_cache(self, torch_name: str) -> None:
        import torch

        torch.mps.empty_cache()

    def gauge(self, device: Device, reader: Reader) -> Gauge | None:
        """None: macOS tells only administrators (powermetrics)."""
        return None


def _numbers(version: str | None) -> tuple[int, ...]:
    """(14, 5) out of "14.5"; (0,) where nothing is known."""
    return tuple(int(number) for number in re.findall(r"\d+", (version or "0").partition("+")[0])) or (0,)


DEVICE = MpsKind()
