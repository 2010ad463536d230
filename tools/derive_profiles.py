"""Write profiles/*.yaml for common machines, derived from rules of thumb: candidates that nobody has measured.

    python tools/derive_profiles.py            writes them, and removes derived ones that are no longer in the table
    python tools/derive_profiles.py --check    says which differ, exit code 1 if any does

The table below says what these machines are, from the vendors' public specifications, in the form in which the probe
tells it: memory as the driver reports it, rounded to GiB. What the machine around a GPU is like is assumed: a desktop
with 8 cores or a server with 16; the profile says so. The rules are in sovits_rt/rules.py.
"""

import argparse
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

from autotune import knobs, store
from autotune.fingerprint import Fingerprint
from autotune.profile import Match, Profile, Provenance, profile_id
from sovits_rt import rules
from sovits_rt.scenarios import DEFAULT_SCENARIO
from sovits_rt.tuning import PUBLISHED_SHAPE, subject_name

FOLDER = Path(__file__).resolve().parent.parent / "profiles"
TOOL = "tools/derive_profiles.py"
UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Kind:
    """name: for people. assumed: what of the facts is not known for all such machines, "" if nothing."""

    name: str
    facts: Fingerprint
    assumed: str = ""


DESKTOP = Fingerprint(
    kind="cpu",
    vendor=UNKNOWN,
    arch="x86_64",
    device_name="",
    device_memory_gib=0,
    cpu_vendor=UNKNOWN,
    cpu_arch="x86_64",
    cpu_family="",
    isa=("avx2",),
    cores=8,
    efficiency_cores=0,
    memory_gib=16,
    l3_mib=16,
)
SERVER = replace(DESKTOP, isa=("avx2", "avx512_vnni", "avx512f"), cores=16, memory_gib=64, l3_mib=32)
ASSUMED_DESKTOP = "the processor beside the GPU: 8 cores with AVX2, 16 GiB"
ASSUMED_SERVER = "the processor beside the GPU: 16 cores with AVX-512, 64 GiB"


def nvidia(name: str, arch: str, memory_gib: int, host: Fingerprint = DESKTOP) -> Kind:
    facts = replace(
        host, kind="cuda", vendor="nvidia", arch=arch, device_name=f"NVIDIA {name}", device_memory_gib=memory_gib
    )
    return Kind(name, facts, ASSUMED_DESKTOP if host is DESKTOP else ASSUMED_SERVER)


def radeon(name: str, arch: str, memory_gib: int) -> Kind:
    facts = replace(
        DESKTOP, kind="rocm", vendor="amd", arch=arch, device_name=f"AMD Radeon {name}", device_memory_gib=memory_gib
    )
    return Kind(f"Radeon {name}", facts, ASSUMED_DESKTOP)


def apple(chip: str, cores: int, efficiency_cores: int, memory_gib: int, *more_isa: str) -> Kind:
    facts = Fingerprint(
        kind="mps",
        vendor="apple",
        arch=f"apple_{chip.lower()}",
        device_name=f"Apple {chip}",
        device_memory_gib=memory_gib,
        cpu_vendor="apple",
        cpu_arch="arm64",
        cpu_family="",
        isa=tuple(sorted(("dotprod", "fp16", "neon", *more_isa))),
        cores=cores,
        efficiency_cores=efficiency_cores,
        memory_gib=memory_gib,
        l3_mib=0,
    )
    return Kind(f"Apple {chip}", facts)


def x86(
    name: str, vendor: str, family: str, cores: int, memory_gib: int, l3_mib: int, *isa: str, slow: int = 0
) -> Kind:
    """slow: how many of the cores are efficiency cores."""
    facts = replace(
        DESKTOP,
        vendor=vendor,
        cpu_vendor=vendor,
        cpu_family=family,
        isa=tuple(sorted(isa)),
        cores=cores,
        efficiency_cores=slow,
        memory_gib=memory_gib,
        l3_mib=l3_mib,
    )
    return Kind(name, facts, "cores, caches and memory, which differ between models of this kind")


def arm(name: str, part: str, cores: int, memory_gib: int, l3_mib: int, *isa: str) -> Kind:
    facts = replace(
        DESKTOP,
        vendor="arm",
        arch="arm64",
        cpu_vendor="arm",
        cpu_arch="arm64",
        cpu_family=part,
        isa=tuple(sorted(("dotprod", "fp16", "neon", *isa))),
        cores=cores,
        memory_gib=memory_gib,
        l3_mib=l3_mib,
    )
    return Kind(name, facts)


AVX512 = ("avx2", "avx512_vnni", "avx512f")
SAPPHIRE_RAPIDS = (*AVX512, "amx_bf16", "amx_int8", "avx512_bf16", "avx_vnni")
KINDS = (
    nvidia("GeForce RTX 3050", "sm_86", 8),
    nvidia("GeForce RTX 3060", "sm_86", 12),
    nvidia("GeForce RTX 4060", "sm_89", 8),
    nvidia("GeForce RTX 4090", "sm_89", 24),
    nvidia("GeForce RTX 5090", "sm_120", 32),
    nvidia("T4", "sm_75", 15, SERVER),
    nvidia("A10", "sm_86", 22, SERVER),
    nvidia("A100 40GB", "sm_80", 40, SERVER),
    nvidia("A100 80GB", "sm_80", 80, SERVER),
    nvidia("H100 80GB", "sm_90", 80, SERVER),
    radeon("RX 7600", "gfx1102", 8),
    radeon("RX 7800 XT", "gfx1101", 16),
    radeon("RX 7900 XTX", "gfx1100", 24),
    apple("M1", 8, 4, 8),
    apple("M2", 8, 4, 16, "bf16", "i8mm"),
    apple("M3", 8, 4, 16, "bf16", "i8mm"),
    apple("M4", 10, 6, 16, "bf16", "i8mm"),
    x86("laptop, Intel with slow cores", "intel", "6.154", 16, 16, 18, "avx2", "avx_vnni", slow=8),
    x86("laptop, AMD", "amd", "25.80", 16, 16, 16, "avx2"),
    x86("server, Intel with AMX", "intel", "6.143", 32, 128, 60, *SAPPHIRE_RAPIDS),
    x86("server, AMD EPYC 7003", "amd", "25.1", 32, 128, 32, "avx2"),
    arm("Raspberry Pi 5", "0xd0b", 4, 8, 2),
    arm("Graviton2", "0xd0c", 8, 16, 32),
    arm("Graviton3", "0xd40", 8, 16, 32, "bf16", "i8mm", "sve"),
    arm("Graviton4", "0xd4f", 8, 16, 36, "bf16", "i8mm", "sve", "sve2"),
)


def derived(kind: Kind) -> Profile:
    subject = subject_name(PUBLISHED_SHAPE)
    guess = rules.guess(kind.facts, PUBLISHED_SHAPE)
    assumed = f" Assumed: {kind.assumed}." if kind.assumed else ""
    return Profile(
        id=profile_id(kind.facts, subject, DEFAULT_SCENARIO),
        subject=subject,
        scenario=DEFAULT_SCENARIO,
        status="candidate",
        match=Match.of(kind.facts),
        settings=knobs.dump(guess.settings),
        provenance=Provenance(
            tool=TOOL,
            version=rules.VERSION,
            note=f"{kind.name}. Not measured. Rules: {guess.reason}.{assumed}",
            origin="derived",
            source=", ".join(guess.rules),
        ),
    )


def write_all(folder: Path) -> list[Path]:
    return [store.save(derived(kind), folder) for kind in KINDS]


def derived_files(folder: Path) -> list[Path]:
    return [path for path in store.files(folder) if store.load(path).provenance.origin == "derived"]


def differing(folder: Path) -> list[str]:
    """Names of files that are missing in folder, are no longer written, or hold something else."""
    with tempfile.TemporaryDirectory() as scratch:
        wanted = {path.name: path.read_bytes() for path in write_all(Path(scratch))}
    present = {path.name: path.read_bytes() for path in derived_files(folder)}
    return sorted(name for name in wanted.keys() | present.keys() if wanted.get(name) != present.get(name))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="only say what differs")
    if parser.parse_args().check:
        names = differing(FOLDER)
        print("\n".join(names) or "all are as they would be written")
        sys.exit(1 if names else 0)
    written = write_all(FOLDER)
    for path in set(derived_files(FOLDER)) - set(written):
        path.unlink()
    print(f"{len(written)} profiles in {FOLDER}")


if __name__ == "__main__":
    main()
