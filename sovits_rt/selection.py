"""Which settings a run uses, and why: defaults < nearest profile < this machine's profile < single knobs."""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import platformdirs

from autotune import knobs, store
from autotune.errors import AutotuneError, ProfileError
from autotune.fingerprint import fingerprint
from autotune.knobs import Scalar
from autotune.machine import Machine
from autotune.plain import shortened
from autotune.profile import Profile
from autotune.store import Considered, Resolution
from sovits_rt.errors import SettingsError
from sovits_rt.scenarios import DEFAULT_SCENARIO
from sovits_rt.settings import Settings, untuned
from sovits_rt.tuning import exact_part

UNTUNED = "default"
DEFAULT, SET = "default", "--set"
_NAMES = {
    **dict.fromkeys(("exact-local", "yours"), "local profile"),
    **dict.fromkeys(("exact-shipped", "shipped"), "shipped profile"),
    "nearest": "nearest profile",
    "file": "profile file",
}
_APP = "sovits-rt"


@dataclass(frozen=True, slots=True)
class Selection:
    """label: the profile's id, or "default". notes: sentences for the user. tuned_here: a profile that was made on this
    machine with this software, so that there is nothing to tune. sources: where each knob's value comes from."""

    settings: Settings
    label: str
    notes: tuple[str, ...] = ()
    tuned_here: bool = False
    sources: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class KnobUse:
    """One knob in use, for people. source: who gave the value, see `select`."""

    path: str
    value: Scalar
    default: Scalar
    source: str
    exact: bool
    doc: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a run on this machine gets its settings. considered: every known profile, the one that counts first."""

    hw_class: str
    subject: str
    selection: Selection
    considered: tuple[Considered, ...]
    knobs: tuple[KnobUse, ...]


def profile_folder() -> Path:
    """Where this user's profiles are kept."""
    return Path(platformdirs.user_data_dir(_APP, appauthor=False)) / "profiles"


def voice_folder() -> Path:
    """Where prepared voices are cached."""
    return Path(platformdirs.user_cache_dir(_APP, appauthor=False)) / "voices"


def shipped_folder() -> Path:
    """profiles/ inside an installed package, or beside it in a checkout."""
    package = Path(__file__).resolve().parent
    installed = package / "profiles"
    return installed if installed.is_dir() else package.parent / "profiles"


def select(
    machine: Machine,
    subject: str,
    asked: str | None,
    assignments: Sequence[str] = (),
    scenario: str = DEFAULT_SCENARIO,
) -> Selection:
    """subject: the name of what was tuned. scenario: what for.

    asked: a profile's id or file, "default", or None for the best there is.

    assignments: "knob=value", applied last. Raises SettingsError for a profile or knob that does not fit this machine.
    """
    chosen = _asked_for(machine, subject, asked) if asked is not None else _best(machine, subject, scenario)
    if not assignments:
        return chosen
    settings, sources = chosen.settings, dict(chosen.sources)
    try:
        for assignment in assignments:
            path = assignment.partition("=")[0].strip()
            before, settings = settings, knobs.override(settings, assignment, machine)
            sources = _sources(settings, sources)
            changed = {line.partition(":")[0] for line in knobs.changes(before, settings)}
            sources.update({each: SET for each in sources if _is_meant(each, path) or each in changed})
    except AutotuneError as error:
        raise SettingsError(f"--set {assignment}: {error}") from error
    label = f"{chosen.label} + {', '.join(assignments)}"
    return replace(chosen, settings=settings, label=label, sources=sources)


def explain(
    machine: Machine,
    subject: str,
    asked: str | None,
    assignments: Sequence[str] = (),
    scenario: str = DEFAULT_SCENARIO,
) -> Explanation:
    """`select`, with the reasons. Raises as it does, and ProfileError for a damaged file."""
    chosen = select(machine, subject, asked, assignments, scenario)
    plain = knobs.flatten(untuned(machine))
    rows = {row.path: row for row in knobs.describe(Settings)}
    uses = tuple(
        KnobUse(
            path, value, plain.get(path, rows[path].default), chosen.sources[path], rows[path].exact, rows[path].doc
        )
        for path, value in knobs.flatten(chosen.settings).items()
    )
    considered = store.consider(machine, **_places(subject, scenario))
    return Explanation(fingerprint(machine).hw_class, subject, chosen, tuple(considered), tuple(uses))


def known_profiles() -> list[tuple[str, Profile]]:
    """("yours" or "shipped", profile) for every profile there is. Raises ProfileError for a damaged file."""
    return [
        (origin, store.load(path))
        for origin, folder in (("yours", profile_folder()), ("shipped", shipped_folder()))
        for path in store.files(folder)
    ]


def find_profile(asked: str) -> Profile:
    """By file, or by id among those there are. Raises ProfileError."""
    return locate(asked)[1]


def locate(asked: str) -> tuple[str, Profile]:
    """("yours", "shipped" or "file", profile), as `find_profile` finds it. Raises ProfileError."""
    path = Path(asked)
    if path.suffix in (".yaml", ".yml") or path.is_file():
        return "file", store.load(path)
    known = known_profiles()
    for origin, profile in known:
        if profile.id == asked:
            return origin, profile
    near = difflib.get_close_matches(asked, [UNTUNED, *(profile.id for _, profile in known)], n=1, cutoff=0.5)
    hint = f", the nearest name is {near[0]!r}" if near else ""
    raise ProfileError(
        f"There is no profile {asked!r}{hint}; `sovits-rt profile list` names all, and `sovits-rt tune` makes one."
    )


def load_settings(profile: Profile, machine: Machine, *, strict: bool) -> tuple[Settings, list[str]]:
    """A profile's settings on this machine, and what had to be fitted in; what it leaves out comes from the defaults.

    strict: refuse what this machine does not allow instead of fitting it in. Raises SettingsError.
    """
    try:
        if profile.environment:
            names = ", ".join(profile.environment)
            raise ProfileError(f"it sets {names}, which here only the knobs below `process` do.")
        settings = knobs.load(Settings, profile.settings, machine if strict else None, base=untuned(machine))
        return (settings, []) if strict else knobs.clamp(settings, machine)
    except AutotuneError as error:
        reason = shortened(str(error))
        raise SettingsError(
            f"Profile {profile.id} can't be used here, tune again or use --profile default: {reason}"
        ) from error


def _asked_for(machine: Machine, subject: str, asked: str) -> Selection:
    if asked == UNTUNED:
        return _defaults(machine, (), tuned_here=True)
    origin, profile = locate(asked)
    if profile.status == "rejected":
        raise SettingsError(f"Profile {asked} was rejected when it was measured; use another or --profile default.")
    settings, _ = load_settings(profile, machine, strict=True)
    differs = f"Profile {profile.id} was tuned for {profile.subject}, this is {subject}."
    notes = (differs,) if profile.subject != subject else ()
    sources = _profile_sources(profile, settings, settings, _NAMES[origin])
    return Selection(settings, profile.id, notes, True, sources)


def _best(machine: Machine, subject: str, scenario: str) -> Selection:
    found = resolve(machine, subject, scenario)
    profile = found.profile
    if profile is None:
        return _defaults(machine, found.notes)
    if profile.evidence is None and profile.provenance.origin != "tuned":
        guess = f"{profile.id} was never measured: tuning tries it first; until then the defaults are used."
        return _defaults(machine, (*found.notes, guess))
    fitted, changes = load_settings(profile, machine, strict=False)
    made_here = found.how == "exact-local" and profile.provenance.origin != "imported"
    settings = fitted if made_here else exact_part(fitted)
    until = "Until it is verified here, knobs that may change the audio stay at their defaults."
    held_back = () if settings == fitted else (until,)
    notes = (*found.notes, *(f"fitted to this machine: {change}" for change in changes), *held_back)
    unfinished = profile.status == "candidate" and profile.provenance.origin == "tuned"
    sources = _profile_sources(profile, fitted, settings, _NAMES[found.how])
    return Selection(settings, profile.id, notes, made_here and (found.trusted or unfinished), sources)


def _defaults(machine: Machine, notes: tuple[str, ...], *, tuned_here: bool = False) -> Selection:
    settings = untuned(machine)
    return Selection(settings, UNTUNED, notes, tuned_here, _sources(settings, {}))


def _sources(settings: Settings, known: Mapping[str, str]) -> dict[str, str]:
    """By knob in use; DEFAULT for one that `known` does not name."""
    return {path: known.get(path, DEFAULT) for path in knobs.flatten(settings)}


def _profile_sources(profile: Profile, fitted: Settings, used: Settings, name: str) -> dict[str, str]:
    asked = {path: value for path, value in knobs.flatten(used).items() if _names(profile.settings, path)}
    wished = knobs.flatten(knobs.load(Settings, profile.settings))
    sources = _sources(used, dict.fromkeys(asked, name))
    before = knobs.flatten(fitted)
    for path, value in asked.items():
        if before.get(path) != value:
            sources[path] = f"{DEFAULT}, until the {name} is verified here"
        elif wished.get(path) != value:
            sources[path] = f"{name}, fitted to this machine"
    return sources


def _is_meant(knob: str, path: str) -> bool:
    """--set may leave out the plug-in's name: semantic.backend.mode for semantic.backend.compiled.mode."""
    group, _, name = path.rpartition(".")
    *above, _, last = knob.split(".")
    return knob == path or (".".join(above), last) == (group, name)


def _names(data: Any, path: str) -> bool:
    """Whether plain settings say something about a knob; a plug-in's name is a step of the path, not of the data."""
    for step in path.split("."):
        if not isinstance(data, Mapping):
            return False
        if step in data:
            data = data[step]
        elif data.get("use") != step:
            return False
    return True


def resolve(machine: Machine, subject: str, scenario: str = DEFAULT_SCENARIO) -> Resolution:
    return store.resolve(machine, **_places(subject, scenario))


def _places(subject: str, scenario: str) -> dict[str, Any]:
    return {
        "subject": subject,
        "scenario": scenario,
        "user_dir": profile_folder(),
        "shipped_dirs": (shipped_folder(),),
    }
