"""Which settings a run uses, and why: defaults < nearest profile < this machine's profile < single knobs."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from autotune import knobs, store
from autotune.errors import AutotuneError, ProfileError
from autotune.machine import Machine
from autotune.profile import Profile
from autotune.store import Resolution
from sovits_rt.errors import SettingsError
from sovits_rt.settings import Settings, untuned
from sovits_rt.tuning import SCENARIO

UNTUNED = "default"
_APP = "sovits-rt"


@dataclass(frozen=True, slots=True)
class Selection:
    """label: the profile's id, or "default". notes: sentences for the user. tuned_here: a profile that was made on this
    machine with this software, so that there is nothing to tune."""

    settings: Settings
    label: str
    notes: tuple[str, ...] = ()
    tuned_here: bool = False


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


def select(machine: Machine, subject: str, asked: str | None, assignments: Sequence[str] = ()) -> Selection:
    """subject: the name of what was tuned. asked: a profile's id or file, "default", or None for the best there is.

    assignments: "knob=value", applied last. Raises SettingsError for a profile or knob that does not fit this machine.
    """
    chosen = _asked_for(machine, subject, asked) if asked is not None else _best(machine, subject)
    if not assignments:
        return chosen
    settings = chosen.settings
    try:
        for assignment in assignments:
            settings = knobs.override(settings, assignment, machine)
    except AutotuneError as error:
        raise SettingsError(f"--set {assignment}: {error}") from error
    return Selection(settings, f"{chosen.label} + {', '.join(assignments)}", chosen.notes, chosen.tuned_here)


def known_profiles() -> list[tuple[str, Profile]]:
    """("yours" or "shipped", profile) for every profile there is. Raises ProfileError for a damaged file."""
    return [
        (origin, store.load(path))
        for origin, folder in (("yours", profile_folder()), ("shipped", shipped_folder()))
        for path in store.files(folder)
    ]


def find_profile(asked: str) -> Profile:
    """By file, or by id among those there are. Raises ProfileError."""
    path = Path(asked)
    if path.suffix in (".yaml", ".yml") or path.is_file():
        return store.load(path)
    known = known_profiles()
    for _, profile in known:
        if profile.id == asked:
            return profile
    names = ", ".join(["default", *(profile.id for _, profile in known)])
    raise ProfileError(f"There is no profile {asked!r}; there is {names}, and `sovits-rt tune` makes one.")


def _asked_for(machine: Machine, subject: str, asked: str) -> Selection:
    if asked == UNTUNED:
        return Selection(untuned(machine), UNTUNED, tuned_here=True)
    profile = find_profile(asked)
    if profile.status == "rejected":
        raise SettingsError(f"Profile {asked} was rejected when it was measured; use another or --profile default.")
    try:
        settings = knobs.load(Settings, profile.settings, machine)
    except AutotuneError as error:
        raise SettingsError(
            f"Profile {asked} can't be used here, tune again or use --profile default: {error}"
        ) from error
    differs = f"Profile {profile.id} was tuned for {profile.subject}, this is {subject}."
    notes = (differs,) if profile.subject != subject else ()
    return Selection(settings, profile.id, notes, tuned_here=True)


def _best(machine: Machine, subject: str) -> Selection:
    found = resolve(machine, subject)
    profile = found.profile
    if profile is None:
        return Selection(untuned(machine), UNTUNED, found.notes)
    try:
        settings, changes = knobs.clamp(knobs.load(Settings, profile.settings), machine)
    except AutotuneError as error:
        raise SettingsError(
            f"Profile {profile.id} can't be used here, tune again or use --profile default: {error}"
        ) from error
    notes = (*found.notes, *(f"fitted to this machine: {change}" for change in changes))
    here = found.how == "exact-local" and profile.status != "stale"
    return Selection(settings, profile.id, notes, tuned_here=here)


def resolve(machine: Machine, subject: str) -> Resolution:
    return store.resolve(
        machine,
        subject=subject,
        scenario=SCENARIO,
        user_dir=profile_folder(),
        shipped_dirs=(shipped_folder(),),
    )
