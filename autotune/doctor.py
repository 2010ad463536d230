"""What is wrong or worth knowing about a machine, and what to do: rules over its facts, one function each.

A rule sees a `Machine` and nothing else, so that recorded machines test it. Knows nothing of what will run there.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from autotune.machine import Device, Machine

SEVERITIES = ("error", "warning", "note")
GIB = 1024**3
_NOT_FIXABLE = ("family", "hidden", "system")  # by nature or by the user's own wish: said, not warned of
_CUT_POWER = 0.85  # of the usual power limit
_TAKEN = 0.5  # share of a GPU's memory that others hold
_LEAK_BYTES = 256 * 1024  # for every new tensor shape: a gigabyte after some thousand sentences
_SAVING = ("low-power", "quiet", "cool")


@dataclass(frozen=True, slots=True)
class Finding:
    """code: short and stable. severity: "error" (can't run), "warning" (runs slower, or less safely, than it could) or
    "note". text: what is; remedy: what to do, "" if nothing is to be done; both without a full stop."""

    code: str
    severity: str
    text: str
    remedy: str = ""

    @property
    def line(self) -> str:
        return f"{self.text}; {self.remedy}." if self.remedy else f"{self.text}."


Rule = Callable[[Machine], Iterator[Finding]]


def findings(machine: Machine) -> tuple[Finding, ...]:
    """What the rules of this module say."""
    return ranked(finding for rule in RULES for finding in rule(machine))


def ranked(found: Iterable[Finding]) -> tuple[Finding, ...]:
    """Each thing once, the gravest first."""
    return tuple(sorted(dict.fromkeys(found), key=lambda finding: SEVERITIES.index(finding.severity)))


def torch_is_there(machine: Machine) -> Iterator[Finding]:
    if "torch" in machine.software.packages:
        return
    if machine.software.os == "macos" and machine.cpu.arch == "x86_64" and not machine.environment.translated:
        remedy = "use another machine: the last torch for Intel Macs, 2.2, is too old"
    else:
        remedy = "install it (pytorch.org/get-started says which build)"
    yield Finding("torch-missing", "error", "torch is not installed", remedy)


def refused_devices(machine: Machine) -> Iterator[Finding]:
    """GPUs that are there and can't be used."""
    for device in machine.refused:
        word = device.facts["refused_for"]
        if word != "torch":  # another rule's
            severity = "note" if word in _NOT_FIXABLE else "warning"
            yield Finding(f"gpu-{word}", severity, device.facts["refused"], device.facts["remedy"])


def wsl(machine: Machine) -> Iterator[Finding]:
    if not machine.environment.wsl or machine.accelerators or machine.refused:
        return
    if machine.environment.wsl_gpu:
        text = "WSL passes a GPU through, but neither NVIDIA's library nor ROCm is there to use it"
        remedy = "install NVIDIA's driver in Windows (none inside WSL), or ROCm for WSL with a Radeon RX 7000 or later"
        yield Finding("wsl-gpu-driver", "warning", text, remedy)
    else:
        remedy = "to use one: WSL 2 (wsl --update) and a current GPU driver in Windows"
        yield Finding("wsl-no-gpu", "note", "WSL passes no GPU through", remedy)


def toolkit(machine: Machine) -> Iterator[Finding]:
    """Drivers that are older than what torch was built for, though of the same major version."""
    built = machine.software.torch_build.get("cuda", "")
    for device in machine.devices_of("cuda"):
        runs = device.facts.get("cuda_driver", "")
        if built and runs and _numbers(runs) < _numbers(built):
            text = f"The NVIDIA driver {device.facts.get('driver', '')} is of CUDA {runs}, torch of CUDA {built}"
            remedy = "that works; update the driver if a kernel fails to load"
            yield Finding("cuda-minor", "note", text, remedy)


def half_precision(machine: Machine) -> Iterator[Finding]:
    for device in machine.devices_of("cuda"):
        if device.facts.get("fp16") == "unreliable":
            text = f"{device.name}: cards of this series give NaN or silence in half precision"
            yield Finding("half-precision", "note", text, "stay with fp32")
        elif device.facts.get("bf16") == "emulated":
            yield Finding("bf16-emulated", "note", f"{device.name} computes bf16 by emulation only", "stay with fp32")


def device_limits(machine: Machine) -> Iterator[Finding]:
    """Heat, power and other programs."""
    for device in machine.accelerators:
        facts, heat = device.facts, device.facts.get("temperature_celsius")
        held = facts.get("held_back", "").split(", ")
        if "heat" in held:
            text = f"{device.name} lowers its clock because it is too hot" + (f" ({heat} °C)" if heat else "")
            yield Finding("gpu-hot", "warning", text, "cool it, clean it, or let it rest before tuning")
        if "power supply" in held:
            text = f"{device.name} lowers its clock because its power supply asks for it"
            yield Finding("gpu-power-supply", "warning", text, "check the power cables and the supply's wattage")
        limit, usual = (_number(facts.get(name)) for name in ("power_limit_watts", "power_default_watts"))
        if limit and usual and limit < _CUT_POWER * usual:
            text = f"{device.name} is limited to {limit:.0f} W of its usual {usual:.0f} W"
            yield Finding("gpu-power-limit", "warning", text, "raise the limit, or tune again whenever it is changed")
        free = _number(facts.get("memory_free_bytes"))
        taken = device.memory_bytes - free if "memory_free_bytes" in facts else 0.0
        if taken > _TAKEN * device.memory_bytes > 0:
            text = f"Other programs hold {taken / GIB:.1f} of {device.name}'s {device.memory_bytes / GIB:.1f} GiB"
            yield Finding("gpu-memory-taken", "warning", text, "close them")
        if facts.get("compute_mode") == "exclusive":
            text = f"{device.name} serves one process at a time (compute mode exclusive), and tuning needs two"
            yield Finding("gpu-exclusive", "warning", text, "nvidia-smi -c DEFAULT, as administrator")


def tried_devices(machine: Machine) -> Iterator[Finding]:
    """What came out where devices were tried."""
    for device in machine.accelerators:
        facts = device.facts
        if facts.get("tryout", "works") != "works":
            text = f"{device.name} was tried and fails: {facts['tryout'].rstrip('.')}"
            yield Finding("gpu-fails", "warning", text, "update its driver and torch; until then, stay on the CPU")
        if unreliable := facts.get("unreliable"):
            text = f"{device.name} gives NaN or infinity in {unreliable}"
            yield Finding("half-precision-fails", "warning", text, "stay with fp32")
        if (growth := _number(facts.get("growth_bytes"))) > _LEAK_BYTES:
            text = f"{device.name}: memory grows by {growth / 1024:.0f} KiB with every new tensor shape"
            yield Finding("gpu-memory-grows", "warning", text, "restart long runs, or stay on the CPU")


def amd_override(machine: Machine) -> Iterator[Finding]:
    wish = machine.environment.overrides.get("HSA_OVERRIDE_GFX_VERSION")
    if wish is None:
        return
    changed = [device for device in machine.devices_of("rocm") if device.facts.get("native_arch") != device.arch]
    for device in changed:
        text = f"HSA_OVERRIDE_GFX_VERSION={wish} makes {device.name} ({_native(device)}) pass for {device.arch}"
        remedy = "unset it if torch has code for the real one; results can be wrong, and profiles are kept apart"
        yield Finding("hsa-override", "warning", text, remedy)
    if not changed:
        text = f"HSA_OVERRIDE_GFX_VERSION={wish} is set and changes nothing here but the choice of profile"
        yield Finding("hsa-override", "note", text, "unset it")


def apple(machine: Machine) -> Iterator[Finding]:
    if machine.environment.translated:
        text = "Python runs as an Intel program (Rosetta): several times slower, and without Apple's GPU"
        yield Finding("rosetta", "warning", text, "install Python for arm64")
    for _ in machine.devices_of("mps"):
        text = "On Apple silicon the CPU is often faster than the GPU (MPS)"
        yield Finding("mps-compare", "note", text, "tuning compares both")
        text = "torch keeps memory for every new tensor shape on MPS (pytorch issues 132596, 181213)"
        yield Finding("mps-memory", "note", text, "with the GPU in use, restart long runs when memory grows")


def openmp(machine: Machine) -> Iterator[Finding]:
    loaded = machine.software.openmp
    if len(loaded) > 1:
        text = f"Several OpenMP runtimes are loaded ({', '.join(loaded)}): their threads compete, some crash"
        remedy = "install torch and the other packages from one source: pip or conda, not both"
        yield Finding("openmp-twice", "warning", text, remedy)
    elif machine.environment.overrides.get("KMP_DUPLICATE_LIB_OK", "").upper() in ("TRUE", "1"):
        text = "KMP_DUPLICATE_LIB_OK hides that several OpenMP runtimes are loaded; results can be wrong"
        yield Finding("openmp-hidden", "warning", text, "unset it")


def power(machine: Machine) -> Iterator[Finding]:
    if machine.power.source == "battery":
        yield Finding("on-battery", "warning", "The machine runs on battery", "plug it in, above all for tuning")
    if machine.power.profile in _SAVING:
        text = f"The system's power profile is {machine.power.profile}"
        yield Finding("power-saver", "warning", text, "choose balanced or performance")
    for limit in machine.power.limits:
        if limit == "undervoltage":
            text = "The power supply is too weak (undervoltage), so the processor slows down"
            yield Finding("undervoltage", "warning", text, "use the supply that the board asks for")
        else:
            text = f"The processor is held down: {limit}"
            severity = "note" if limit == "turbo off" else "warning"
            yield Finding("cpu-limited", severity, text, "look at the power settings")


def quota(machine: Machine) -> Iterator[Finding]:
    granted = machine.cpu.quota
    if granted is None or granted == int(granted):
        return
    if granted < 1:
        text = f"The container grants {granted:g} of one CPU: work stands still for part of every tenth of a second"
        yield Finding("quota-under-one", "warning", text, "grant at least one whole CPU (docker run --cpus 1)")
    else:
        text = f"The container grants {granted:g} CPUs, of which {machine.usable_cores} can be used"
        yield Finding("quota-rounded", "note", text, "grant whole CPUs")


def instructions(machine: Machine) -> Iterator[Finding]:
    chip = machine.cpu
    if chip.arch == "x86_64" and chip.isa and "avx2" not in chip.isa and not machine.environment.translated:
        yield Finding("no-avx2", "warning", f"{chip.model or 'The processor'} has no AVX2: torch is slow on it")
    elif chip.arch == "x86_64" and not chip.isa and chip.vendor != "unknown" and not machine.environment.translated:
        text = "No vector instructions are reported; in a virtual machine they may be hidden"
        yield Finding("no-avx2", "warning", text, "let the virtual machine see the host's processor (cpu: host)")


def variables(machine: Machine) -> Iterator[Finding]:
    """What the user has set that slows down or changes results."""
    found = machine.environment.overrides
    if found.get("CUDA_LAUNCH_BLOCKING") == "1":
        yield Finding("launch-blocking", "warning", "CUDA_LAUNCH_BLOCKING=1 makes every kernel wait", "unset it")
    for name in ("NVIDIA_TF32_OVERRIDE", "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE"):
        if found.get(name) == "1":
            yield Finding("tf32-forced", "warning", f"{name}=1 rounds fp32 to 10 bits, so results differ", "unset it")


RULES: tuple[Rule, ...] = (
    torch_is_there,
    refused_devices,
    wsl,
    toolkit,
    half_precision,
    device_limits,
    tried_devices,
    amd_override,
    apple,
    openmp,
    power,
    quota,
    instructions,
    variables,
)


def _native(device: Device) -> str:
    return device.facts.get("native_arch", "")


def _number(text: str | None) -> float:
    """0.0 if there is none."""
    try:
        return float(text or 0)
    except ValueError:
        return 0.0


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdigit())
