"""A profile: one YAML file that says how a kind of machine runs best, and how that is known.

match says for whom, settings hold only knobs, evidence says why, quality what was checked, provenance who wrote it.
Files are untrusted: safe YAML without aliases, limited in size and depth, unknown keys refused, environment variables
from a short list. Files name no individual machine.
"""

import copy
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from autotune import plain
from autotune.errors import ProfileError
from autotune.fingerprint import Fingerprint
from autotune.knobs.convert import digest

SCHEMA = 1
STATUSES = ("candidate", "verified", "default-confirmed", "stale", "rejected")
SCENARIOS = ("latency", "throughput", "low-memory")
ORIGINS = ("tuned", "verified", "derived", "imported")
# Names that mean something else: the defaults, and the note about declined tunings that lies beside the profiles.
RESERVED_IDS = ("default", "declined")
ENVIRONMENT_ALLOWED = frozenset(
    {
        "CUDA_DEVICE_MAX_CONNECTIONS",
        "CUDA_MODULE_LOADING",
        "GOMP_CPU_AFFINITY",
        "GOMP_SPINCOUNT",
        "KMP_AFFINITY",
        "KMP_BLOCKTIME",
        "MALLOC_ARENA_MAX",
        "MIOPEN_FIND_MODE",
        "MKL_NUM_THREADS",
        "OMP_NUM_THREADS",
        "OMP_PLACES",
        "OMP_PROC_BIND",
        "OMP_WAIT_POLICY",
        "OPENBLAS_NUM_THREADS",
        "PYTORCH_ALLOC_CONF",
        "PYTORCH_CUDA_ALLOC_CONF",
        "PYTORCH_MPS_HIGH_WATERMARK_RATIO",
        "PYTORCH_TUNABLEOP_ENABLED",
    }
)
_ENVIRONMENT_VALUE = re.compile(r"[A-Za-z0-9_.,:;{}()=-]{0,200}")
# A GPU's UUID, a machine's id, a MAC address, a serial number, an e-mail address, something in somebody's home folder.
PRIVATE = re.compile(
    r"(?:(?:GPU|MIG)-)?[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|\b[0-9a-f]{32}\b"
    r"|\b[0-9a-f]{2}(?::[0-9a-f]{2}){5}\b"
    r"|\b(?:serial(?:\s*(?:no|number))?|s/n)[\s.:=#]+(?=[\w-]*\d)[\w-]{5,}"
    r"|[\w.+-]+@[\w-]+(?:\.[\w-]+)+"
    r"|(?:/home/|/Users/|/root/|(?:[a-z]:)?\\Users\\)[^\s'\",;]*",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Match:
    """For whom a profile is: the class as a name, and the facts behind it."""

    hw_class: str
    facts: Fingerprint

    @classmethod
    def of(cls, facts: Fingerprint) -> "Match":
        return cls(facts.hw_class, facts)


@dataclass(frozen=True, slots=True)
class Evidence:
    """Why these settings.

    objective: what was measured. unit: in words, with its direction ("seconds to first audio, smaller is better").
    control_seconds: median of the default settings. ratio: settings / control, below 1 is faster; ci_low, ci_high: its
    95 % interval over `pairs` interleaved pairs. resolution: smallest relative difference that counted, by
    an A/A comparison or, in a tuning too short for one, the margin assumed.
    trials: how many settings were tried. tuning_seconds: what that took.
    samples: measured seconds by name ("control", "candidate"), pair by pair. figures: further numbers ("p95_ratio",
    "peak_memory_bytes", "startup_seconds"). software: versions by name. date: ISO 8601.
    """

    objective: str
    unit: str
    control_seconds: float
    ratio: float
    ci_low: float
    ci_high: float
    pairs: int
    resolution: float
    trials: int
    tuning_seconds: float
    software: Mapping[str, str]
    date: str
    samples: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    figures: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class GateResult:
    """One quality gate: value against limit, in the gate's own unit; detail: one sentence."""

    name: str
    passed: bool
    value: float
    limit: float
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Provenance:
    """tool and version that wrote the profile; space_key: the space searched; counts: outcomes of trials by name.

    origin: one of ORIGINS: the winner of a search on the machine of `match`; another profile that was verified there;
    derived from rules, never measured; or brought in from elsewhere. source: the profile that was verified, or the
    rules that it was derived by.
    """

    tool: str
    version: str
    space_key: str = ""
    counts: Mapping[str, int] = field(default_factory=dict)
    note: str = ""
    origin: str = "tuned"
    source: str = ""


@dataclass(frozen=True, slots=True)
class Profile:
    """id: stable name, also the file's name. subject: what was tuned. settings: plain data for `knobs.load`.
    environment: variables that must be set before the process starts, from ENVIRONMENT_ALLOWED.
    Raises ProfileError on construction if the parts contradict each other.
    """

    id: str
    subject: str
    scenario: str
    status: str
    match: Match
    settings: Mapping[str, Any]
    provenance: Provenance
    environment: Mapping[str, str] = field(default_factory=dict)
    evidence: Evidence | None = None
    quality: tuple[GateResult, ...] = ()
    schema: int = SCHEMA

    def __post_init__(self) -> None:
        _one_of("status", self.status, STATUSES)
        _one_of("scenario", self.scenario, SCENARIOS)
        _one_of("provenance.origin", self.provenance.origin, ORIGINS)
        if self.id in RESERVED_IDS:
            raise ProfileError(f"profile.id: {self.id!r} is a name with a meaning of its own; choose another.")
        if not re.fullmatch(r"[a-z0-9][a-z0-9._-]{0,119}", self.id):
            raise ProfileError(f"profile.id: got {self.id!r}, expected lower-case letters, digits, '.', '_' and '-'.")
        if self.match.hw_class != self.match.facts.hw_class:
            raise ProfileError(
                f"profile.match: hw_class {self.match.hw_class!r} contradicts its facts, {self.match.facts.hw_class!r}."
            )
        if self.provenance.origin == "derived" and (self.status != "candidate" or self.evidence is not None):
            raise ProfileError("profile.provenance: a derived profile is a candidate and has no evidence.")
        if self.status in ("verified", "default-confirmed") and self.evidence is None:
            raise ProfileError(f"profile.evidence: a profile with status {self.status!r} must carry its evidence.")
        if self.status == "verified" and (failed := [gate.name for gate in self.quality if not gate.passed]):
            raise ProfileError(f"profile.quality: status is 'verified' but these gates failed: {', '.join(failed)}.")
        check_environment(self.environment)


def profile_id(facts: Fingerprint, subject: str, scenario: str) -> str:
    """The same machine, subject and scenario always get the same id, so that tuning again replaces the old file."""
    readable = re.sub(r"[^a-z0-9_]+", "-", subject.lower()).strip("-")
    return f"{readable}-{scenario}-{facts.hw_class}-{digest(plain.to_plain(facts))[:8]}"


def check_environment(environment: Mapping[str, str]) -> None:
    """Raises ProfileError for a variable that a profile may not set (LD_PRELOAD, PYTHONPATH, …) or an odd value."""
    for name, value in environment.items():
        if name not in ENVIRONMENT_ALLOWED:
            raise ProfileError(f"profile.environment: {name!r} may not be set by a profile.")
        if not isinstance(value, str) or not _ENVIRONMENT_VALUE.fullmatch(value):
            raise ProfileError(f"profile.environment.{name}: got {value!r}, expected a short plain text.")


def redacted(text: str, more: re.Pattern[str] | None = None) -> str:
    """The text without what could name one machine or person; `more` matches further things to leave out."""
    for pattern in (PRIVATE, more):
        text = text if pattern is None else pattern.sub("(left out)", text)
    return text


def to_dict(profile: Profile) -> dict[str, Any]:
    """Plain data for YAML. Raises ProfileError if a text could name an individual machine or person."""
    data: dict[str, Any] = plain.to_plain(profile)
    ordered = {"schema": data.pop("schema"), **data}
    _refuse_private(ordered, "profile")
    return ordered


# From one schema version to the next: {1: function that turns data of version 1 into data of version 2}. The functions
# are pure and see no other version; they are never changed once released.
MIGRATIONS: Mapping[int, Callable[[dict[str, Any]], dict[str, Any]]] = {}


def migrate(data: Mapping[str, Any], where: str = "profile") -> dict[str, Any]:
    """The same profile in the form of SCHEMA; the data that came in stays as it is.

    Raises ProfileError for a version that is no number, from a newer release, or without a way from it to here.
    """
    version = data.get("schema")
    oldest = min((*MIGRATIONS, 1))
    if type(version) is not int or version < oldest:
        raise ProfileError(f"{where}: schema is {version!r}, expected a whole number up to {SCHEMA}.")
    if version > SCHEMA:
        raise ProfileError(
            f"{where}: schema {version} is from a newer release, this one reads up to {SCHEMA}; update sovits-rt"
        )
    current = copy.deepcopy(dict(data))
    for step in range(version, SCHEMA):
        if step not in MIGRATIONS:
            raise ProfileError(f"{where}: schema {step} can no longer be read.")
        current = {**MIGRATIONS[step](current), "schema": step + 1}
    return current


def from_dict(data: object, where: str = "profile") -> Profile:
    """The strict inverse of to_dict; older schemas are migrated. Raises ProfileError naming the place."""
    if not isinstance(data, Mapping):
        raise ProfileError(f"{where}: expected a profile with named parts, got {type(data).__name__}.")
    return plain.from_plain(Profile, migrate(data, where), ProfileError, where)


def _one_of(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise ProfileError(f"profile.{name}: got {value!r}, expected one of {', '.join(known)}.")


def _refuse_private(value: Any, where: str) -> None:
    if isinstance(value, Mapping):
        for key, item in value.items():
            _refuse_private(key, where)
            _refuse_private(item, f"{where}.{key}")
    elif isinstance(value, list):
        for item in value:
            _refuse_private(item, where)
    elif isinstance(value, str) and PRIVATE.search(value):
        raise ProfileError(f"{where}: {value!r} could name one machine or person; a profile may not hold that.")
