"""What speech will run on here and why, what is wrong with this installation, and what to do.

`diagnose` looks and asks; the rules are functions of what was found, beside those of `autotune.doctor` for any machine.
"""

import importlib.metadata
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from autotune import doctor
from autotune.doctor import GIB, Finding
from autotune.errors import AutotuneError
from autotune.fingerprint import hw_class
from autotune.machine import Machine
from autotune.probe import probe
from autotune.probe.loaded import after_importing
from autotune.probe.tried import tried
from autotune.registry import plugins
from autotune.store import Resolution
from sovits_rt import selection
from sovits_rt.errors import SovitsError
from sovits_rt.settings import SLOTS, Settings, thread_count, untuned
from sovits_rt.tuning import PUBLISHED_SHAPE, SpeechSubject, subject_name

DISTRIBUTION = "sovits-rt"
# Modules of other makers that speaking may load.
MODULES = ("torch", "numpy", "soundfile", "soxr", "tokenizers", "onnxruntime")
_SPARED = ("onnxruntime",)  # only g2pW and the backend of that name need it
# The published v2 models (decoder, SoVITS, HuBERT, Chinese BERT) are 1.1 GB in half precision, and run in fp32.
MODELS_BYTES = 2_200_000_000
SMALL_GPU_GIB = 6
_NOMINAL = 0.97  # a "6 GB" card reports a little less
_EXTRAS = {
    "zh": "Chinese can't be spoken",
    "en": "English can't be spoken",
    "auto": "the language of a text can't be found out (--lang auto)",
    "g2pw": "polyphones are read by pypinyin only",
    "m4a": "m4a and other AAC recordings can't be read",
    "onnx": "the decoder can't be run by ONNX Runtime, which is faster on a CPU",
    "plots": "pictures of spectrograms can't be drawn",
    "quality": "nothing can listen to speech and count word errors",
}
_LANGUAGES = ("zh", "en", "auto")
_PUBLISHED = subject_name(PUBLISHED_SHAPE)
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OMP_WAIT_POLICY")
_PINNING = ("GOMP_CPU_AFFINITY", "KMP_AFFINITY", "OMP_PROC_BIND")


@dataclass(frozen=True, slots=True)
class Installation:
    """Software facts. missing: extra -> its packages that are not installed. failures: module -> why it does not
    import. backends: name -> why it can't be used here. profiles: what is wrong with the profiles, or ""."""

    missing: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    failures: Mapping[str, str] = field(default_factory=dict)
    backends: Mapping[str, str] = field(default_factory=dict)
    profiles: str = ""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run would use, and why. subject: the models, as tuning names them. how: "exact-local", "exact-shipped",
    "nearest" or "none". profile: its id, or "default". status: of the profile here, or ""."""

    subject: str
    how: str
    profile: str
    status: str
    device: str
    device_reason: str
    threads: int
    cores: str
    precision: Mapping[str, str]
    precision_reason: str
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """plans: for the published models first, then for those that this user has tuned."""

    machine: Machine
    hw_class: str
    plans: tuple[Plan, ...]
    findings: tuple[Finding, ...]

    @property
    def can_run(self) -> bool:
        return all(finding.severity != "error" for finding in self.findings)


def diagnose(*, deep: bool = False) -> Diagnosis:
    """Look at this machine; takes some seconds, since a child process imports torch. Never raises for what it finds.

    deep: also try every GPU in a process of its own: does it compute rightly, in which formats, does its memory grow?
    """
    loaded = after_importing(MODULES)
    machine = probe()
    machine = replace(machine, software=replace(machine.software, openmp=loaded.openmp))
    if deep:
        devices = tuple(device if device.kind == "cpu" else tried(device) for device in machine.devices)
        machine = replace(machine, devices=devices)
    plans, trouble = _plans(machine)
    installation = Installation(
        missing=missing_extras(importlib.metadata.requires(DISTRIBUTION) or [], _installed),
        failures=loaded.failures,
        backends=_unusable_backends(machine),
        profiles=trouble,
    )
    return Diagnosis(machine, hw_class(machine), plans, findings(machine, installation))


def findings(machine: Machine, installation: Installation) -> tuple[Finding, ...]:
    """By all rules, those for any machine and those for speech, the gravest first. Pure: nothing is read."""
    of_machine = (memory, batch, small_gpu, variables)
    of_installation = (imports, extras, backends, profiles)
    found = [*doctor.findings(machine)]
    found += [finding for rule in of_machine for finding in rule(machine)]
    found += [finding for rule in of_installation for finding in rule(installation)]
    return doctor.ranked(found)


def memory(machine: Machine) -> Iterator[Finding]:
    sizes = machine.memory
    needed = f"the published models need about {MODELS_BYTES / 1e9:.1f} GB in fp32"
    if 0 < sizes.usable_bytes < MODELS_BYTES + GIB:
        text = f"There are {sizes.usable_bytes / GIB:.1f} GiB of memory, and {needed}"
        yield Finding("memory-small", "warning", text, "use smaller models, or allow more memory")
    elif 0 < sizes.available_bytes < MODELS_BYTES:
        text = f"Only {sizes.available_bytes / GIB:.1f} GiB of memory are free, and {needed}"
        yield Finding("memory-taken", "warning", text, "close other programs")


def batch(machine: Machine) -> Iterator[Finding]:
    """Whether the default number of sentences fits beside each other, by the same limit as in tuning."""
    start, subject = untuned(machine), SpeechSubject("", "", PUBLISHED_SHAPE, brief=False)
    reasons = {
        slots: subject.reject(replace(start, semantic=replace(start.semantic, slots=slots)), machine) for slots in SLOTS
    }
    if (reason := reasons[start.semantic.slots]) is None:
        return
    fitting = [slots for slots, why in reasons.items() if why is None]
    remedy = f"--set semantic.slots={max(fitting)}" if fitting else "use models with a smaller decoder"
    yield Finding("batch-memory", "warning", f"The published models don't fit: {reason}", remedy)


def small_gpu(machine: Machine) -> Iterator[Finding]:
    for device in (*machine.devices_of("cuda"), *machine.devices_of("rocm")):
        if 0 < device.memory_bytes < SMALL_GPU_GIB * GIB * _NOMINAL:
            text = f"{device.name} has {device.memory_bytes / GIB:.1f} GiB; from {SMALL_GPU_GIB} GB on there is room"
            remedy = "tune: fewer slots, or --set process.device=cpu, may do better"
            yield Finding("gpu-small", "warning", text, remedy)


def variables(machine: Machine) -> Iterator[Finding]:
    found = machine.environment.overrides
    if threads := [name for name in _THREADS if name in found]:
        text = f"{_listed(threads)} set by you, and replaced by what the profile says"
        yield Finding("threads-preset", "note", text, "set process.thread_share and process.wait_policy instead")
    if pinning := [name for name in _PINNING if name in found]:
        text = f"{_listed(pinning)} set by you: threads are bound beside what process.cores says"
        yield Finding("threads-bound", "note", text, "unset it, or leave process.cores unpinned")


def imports(installation: Installation) -> Iterator[Finding]:
    for module, why in installation.failures.items():
        severity = "warning" if module in _SPARED else "error"
        yield Finding(f"import-{module}", severity, f"{module} does not import: {why.rstrip('.')}", "install it again")


def extras(installation: Installation) -> Iterator[Finding]:
    missing = installation.missing
    if {"zh", "en"} <= missing.keys():
        yield Finding("no-language", "error", "No language is installed", 'pip install "sovits-rt[all]"')
        missing = {extra: packages for extra, packages in missing.items() if extra not in _LANGUAGES}
    for extra, packages in missing.items():
        effect = _EXTRAS.get(extra, "what it is for is not there")
        text = f"Without {' and '.join(packages)} {effect}"
        severity = "warning" if extra in _LANGUAGES else "note"
        yield Finding(f"extra-{extra}", severity, text, f'pip install "sovits-rt[{extra}]"')


def backends(installation: Installation) -> Iterator[Finding]:
    for name, why in installation.backends.items():
        yield Finding(f"backend-{name}", "note", f"The backend {name!r} is left out: {why.rstrip('.')}")


def profiles(installation: Installation) -> Iterator[Finding]:
    if installation.profiles:
        yield Finding("profile", "error", installation.profiles.rstrip("."))


def missing_extras(
    requirements: Iterable[str], installed: Callable[[str], bool], leave_out: Iterable[str] = ("all", "dev")
) -> dict[str, tuple[str, ...]]:
    """Extra -> its packages that are not installed. requirements: as a package's metadata has them
    ("jieba>=0.42.1; extra == 'zh'")."""
    found: dict[str, tuple[str, ...]] = {}
    for requirement in requirements:
        name = re.match(r"[A-Za-z0-9._-]+", requirement)
        extra = re.search(r"extra\s*==\s*['\"]([^'\"]+)", requirement)
        if name and extra and extra[1] not in leave_out and not installed(name[0]):
            found[extra[1]] = (*found.get(extra[1], ()), name[0])
    return found


def plan(machine: Machine, subject: str) -> Plan:
    """Raises SovitsError or AutotuneError where `synth` would: for a damaged profile, or one that does not fit."""
    chosen, found = selection.select(machine, subject, None), selection.resolve(machine, subject)
    return _planned(machine, subject, chosen, found)


def _planned(machine: Machine, subject: str, chosen: selection.Selection, found: Resolution) -> Plan:
    settings, tuned = chosen.settings, chosen.label != selection.UNTUNED
    devices = [device for device in machine.accelerators if device.kind == settings.process.device]
    precision = {"decoder": settings.semantic.precision, "vocoder": settings.acoustic.precision}
    plain = set(precision.values()) == {"fp32"}
    return Plan(
        subject=subject,
        how=found.how if tuned else "none",
        profile=chosen.label,
        status=found.profile.status if tuned and found.profile is not None else "",
        device=f"{devices[0].kind} ({devices[0].name})" if devices else "cpu",
        device_reason=_device_reason(machine, settings, tuned=tuned),
        threads=thread_count(machine, settings.process),
        cores=settings.process.cores,
        precision=precision,
        precision_reason="exact" if plain else f"as {chosen.label} found to be good enough",
        notes=chosen.notes,
    )


def _device_reason(machine: Machine, settings: Settings, *, tuned: bool) -> str:
    if tuned:
        return "the profile says so"
    if settings.process.device != "cpu":
        return "the first GPU that torch can use"
    if machine.accelerators:
        return "Apple's GPU is taken only where tuning finds it faster"
    if machine.refused:
        return "no GPU that is here can be used"
    return "there is no GPU"


def _plans(machine: Machine) -> tuple[tuple[Plan, ...], str]:
    """The plans, and what is wrong with the profiles."""
    try:
        tuned = [profile.subject for origin, profile in selection.known_profiles() if origin == "yours"]
        return tuple(plan(machine, subject) for subject in dict.fromkeys([_PUBLISHED, *tuned])), ""
    except (SovitsError, AutotuneError) as error:
        nothing = selection.Selection(untuned(machine), selection.UNTUNED)
        return (_planned(machine, _PUBLISHED, nothing, Resolution(None, "none")),), str(error)


def _unusable_backends(machine: Machine) -> dict[str, str]:
    found = {name: backend.unavailable(machine) for name, backend in plugins("sovits_rt.backends", "BACKEND").items()}
    return {name: why for name, why in found.items() if why is not None}


def _installed(package: str) -> bool:
    try:
        importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def _listed(names: Sequence[str]) -> str:
    return f"{', '.join(names)} {'is' if len(names) == 1 else 'are'}"
