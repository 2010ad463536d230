"""The GPU of Apple silicon, which shares its memory with the processor."""

from dataclasses import dataclass

from autotune.devices.cpu import architecture
from autotune.machine import Device
from autotune.reader import Reader, whole_number


@dataclass(frozen=True, slots=True)
class MpsKind:
    kind: str = "mps"

    def find(self, reader: Reader) -> tuple[list[Device], str | None]:
        if reader.system != "Darwin":
            return [], f"MPS exists on macOS only, and this is {reader.system}."
        if architecture(reader) != "arm64":
            return [], "MPS needs Apple silicon, and this Mac has an Intel processor (or Python runs under Rosetta)."
        facts = reader.facts("sysctl")
        if facts.get("kern.hv_vmm_present") == "1":
            return [], "MPS is not there in a virtual machine."
        name = facts.get("machdep.cpu.brand_string", "Apple GPU")
        memory = whole_number(facts.get("hw.memsize")) or 0
        return [Device("mps", 0, name, memory, name.lower().replace(" ", "_"), facts={"memory": "shared"})], None

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


DEVICE = MpsKind()
