"""Profiles on disk: read them safely, write them whole, choose the one for this machine, remember a declined tuning."""

import datetime
import errno
import os
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

try:
    from yaml import CSafeLoader as _SafeLoader  # five times as fast, and start-up waits for it
except ImportError:
    from yaml import SafeLoader as _SafeLoader  # type: ignore[assignment]

from autotune import profile as profiles
from autotune.errors import ProfileError
from autotune.fingerprint import distance, fingerprint, is_exact, software_changes, software_stamp
from autotune.machine import Machine
from autotune.profile import Profile

SIZE_LIMIT_BYTES = 256 * 1024
DEPTH_LIMIT = 24
NEAREST_LIMIT = 6.0  # further away than e.g. four times the cores and other instruction sets, the defaults are as good
_SKIPPED_FILE = "declined.yaml"


@dataclass(frozen=True, slots=True)
class Resolution:
    """profile: what was found, with the status it has on this machine: only one made here with this software stays
    verified or default-confirmed; one from elsewhere is a "candidate", one of other software is "stale".
    how: "exact-local", "exact-shipped", "nearest" or "none". notes: sentences for the user. distance: 0 is the same.
    """

    profile: Profile | None
    how: str
    notes: tuple[str, ...] = ()
    distance: float | None = None

    @property
    def trusted(self) -> bool:
        """May be used as it is, without verifying it first."""
        return self.profile is not None and self.profile.status in ("verified", "default-confirmed")


def resolve(
    machine: Machine,
    *,
    subject: str,
    scenario: str,
    user_dir: Path,
    shipped_dirs: Iterable[Path] = (),
    software: Mapping[str, str] | None = None,
) -> Resolution:
    """The best known profile: exact local, else exact shipped, else the nearest of the same vendor and kind, else none.

    software: versions in use, by default those of the machine. Rejected profiles never count.
    Raises ProfileError if a profile file is damaged, with its path and what to do.
    """
    here = fingerprint(machine)
    versions = software_stamp(machine) if software is None else software

    def fitting(folder: Path) -> list[Profile]:
        found = [load(path) for path in files(folder)]
        return [p for p in found if (p.subject, p.scenario) == (subject, scenario) and p.status != "rejected"]

    local = fitting(user_dir)
    if own := [_aged(p, versions) for p in local if is_exact(p.match.facts, here)]:
        best = max(own, key=_rank)
        notes = (_stale_note(best, versions),) if best.status == "stale" else ()
        return Resolution(best, "exact-local", notes, 0.0)
    shipped = [profile for folder in shipped_dirs for profile in fitting(folder)]
    if same := [p for p in shipped if is_exact(p.match.facts, here)]:
        note = "A profile for this kind of machine came with sovits-rt; it has not been verified here yet."
        return Resolution(replace(max(same, key=_rank), status="candidate"), "exact-shipped", (note,), 0.0)
    ranked = sorted(
        ((apart, p.id, p) for p in (*local, *shipped) if (apart := distance(p.match.facts, here)) is not None),
        key=lambda entry: entry[:2],
    )
    if ranked and ranked[0][0] <= NEAREST_LIMIT:
        apart, _, nearest = ranked[0]
        note = f"No profile for {here.hw_class}; the nearest is for {nearest.match.hw_class} (distance {apart:.2f})."
        return Resolution(replace(nearest, status="candidate"), "nearest", (note,), apart)
    return Resolution(None, "none", (f"No profile for {here.hw_class} or a machine like it; the defaults are used.",))


def _aged(profile: Profile, versions: Mapping[str, str]) -> Profile:
    if profile.evidence is None or profile.status not in ("verified", "default-confirmed"):
        return profile
    return replace(profile, status="stale") if software_changes(profile.evidence.software, versions) else profile


def _stale_note(profile: Profile, versions: Mapping[str, str]) -> str:
    if profile.evidence is None:
        return "The profile is marked stale; it must be verified again."
    changed = ", ".join(software_changes(profile.evidence.software, versions)) or "marked so in its file"
    return f"The profile was measured with other software ({changed}); it must be verified again."


def _rank(profile: Profile) -> tuple[int, str]:
    order = ("stale", "candidate", "default-confirmed", "verified")
    return order.index(profile.status), "" if profile.evidence is None else profile.evidence.date


def files(folder: Path) -> list[Path]:
    """The profile files of a folder, sorted by name; [] if there is no such folder."""
    return sorted(path for path in folder.glob("*.yaml") if path.name != _SKIPPED_FILE)


def load(path: Path) -> Profile:
    """Raises ProfileError with the path and what to do if the file is missing, damaged or of another version."""
    remedy = "delete the file or tune again"
    try:
        return profiles.from_dict(_read_yaml(path))
    except ProfileError as error:
        if isinstance(error.__cause__, FileNotFoundError):
            raise ProfileError(f"{path} can't be read: there is no such file; check the path.") from error
        raise ProfileError(f"{path} can't be used: {str(error).rstrip('.')}; {remedy}.") from error


def save(profile: Profile, folder: Path) -> Path:
    """Write `<id>.yaml` into folder (made if needed), whole or not at all; return its path.

    Raises ProfileError if it is too large, names an individual machine, or can't be written.
    """
    path = folder / f"{profile.id}.yaml"
    _write_yaml(path, profiles.to_dict(profile))
    return path


def remember_skip(folder: Path, key: str, reason: str) -> None:
    """Note that tuning was declined or skipped for key (class, subject, scenario), so that nobody is asked twice.

    Raises ProfileError if the note can't be read or written.
    """
    noted = {**_skipped(folder), key: {"reason": reason, "date": datetime.date.today().isoformat()}}
    _write_yaml(folder / _SKIPPED_FILE, {"schema": 1, "skipped": noted})


def was_skipped(folder: Path, key: str) -> str | None:
    """The reason that was noted for key, or None if tuning was never declined. Raises ProfileError as `load` does."""
    entry = _skipped(folder).get(key)
    return None if entry is None else entry["reason"]


def forget_skip(folder: Path, key: str) -> None:
    """Undo remember_skip; nothing happens if there is no such note."""
    noted = _skipped(folder)
    if noted.pop(key, None) is not None:
        _write_yaml(folder / _SKIPPED_FILE, {"schema": 1, "skipped": noted})


def _skipped(folder: Path) -> dict[str, dict[str, str]]:
    path = folder / _SKIPPED_FILE
    if not path.exists():
        return {}
    try:
        data = _read_yaml(path)
    except ProfileError as error:
        raise ProfileError(f"{path} can't be used: {error}; delete the file.") from error
    entries = data.get("skipped") if isinstance(data, dict) and data.get("schema") == 1 else None
    texts = isinstance(entries, dict) and all(
        isinstance(entry, dict) and isinstance(entry.get("reason"), str) for entry in entries.values()
    )
    if not texts:
        raise ProfileError(f"{path} can't be used: expected schema 1 with named reasons; delete the file.")
    return dict(entries)  # type: ignore[arg-type]


class _StrictLoader(_SafeLoader):
    """No repeated keys, only texts as keys, only true and false as booleans."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for key in keys:
            if not isinstance(key, str):
                raise ProfileError(f"the key {key!r} is not a text")
            if keys.count(key) > 1:
                raise ProfileError(f"the key {key!r} is there twice")
        return super().construct_mapping(node, deep=deep)


# YAML 1.1 reads `off` as False and 2026-01-02 as a date; knobs and dates here are texts.
_StrictLoader.yaml_implicit_resolvers = {
    first: [
        (tag, pattern)
        for tag, pattern in resolvers
        if tag not in ("tag:yaml.org,2002:timestamp", "tag:yaml.org,2002:merge")
        and (tag != "tag:yaml.org,2002:bool" or first in "tTfF")
    ]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def _read_yaml(path: Path) -> Any:
    try:
        with path.open("rb") as file:
            raw = file.read(SIZE_LIMIT_BYTES + 1)
    except OSError as error:
        raise ProfileError(f"it can't be read ({error.strerror})") from error
    if len(raw) > SIZE_LIMIT_BYTES:
        raise ProfileError(f"it is larger than {SIZE_LIMIT_BYTES // 1024} KiB")
    try:
        text = raw.decode("utf-8")
        _refuse_bombs(text)
        return yaml.load(text, Loader=_StrictLoader)
    except UnicodeDecodeError as error:
        raise ProfileError("it is not UTF-8 text") from error
    except (yaml.YAMLError, ValueError) as error:
        raise ProfileError(f"it is not valid YAML{_place(error, raw)}") from error


def _place(error: Exception, raw: bytes) -> str:
    mark = error.problem_mark if isinstance(error, yaml.MarkedYAMLError) else None
    return "" if mark is None else f" (line {min(mark.line + 1, len(raw.splitlines()))})"


def _refuse_bombs(text: str) -> None:
    """Aliases can blow up a small file, deep nesting a parser: both show in the events, before anything is built."""
    depth = 0
    for event in yaml.parse(text, Loader=_SafeLoader):
        if isinstance(event, yaml.AliasEvent):
            raise ProfileError("aliases (*name) are not allowed")
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > DEPTH_LIMIT:
            raise ProfileError(f"it is nested deeper than {DEPTH_LIMIT} levels")


def _write_yaml(path: Path, data: Mapping[str, Any]) -> None:
    # ASCII only: a raw U+0085 or U+2028 in a text would come back as a line end.
    text = yaml.safe_dump(data, sort_keys=False, default_flow_style=None, width=120)
    raw = text.encode("utf-8")
    if len(raw) > SIZE_LIMIT_BYTES:
        raise ProfileError(f"{path} would be larger than {SIZE_LIMIT_BYTES // 1024} KiB; keep fewer samples.")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(raw)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
        _sync_folder(path.parent)
    except OSError as error:
        raise ProfileError(
            f"{path} can't be written ({error.strerror}); check the folder and its free space."
        ) from error


def _sync_folder(folder: Path) -> None:
    if os.name == "nt":
        return  # Windows can't open a folder; its rename is journalled
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # some network file systems have no fsync for folders
            raise
    finally:
        os.close(handle)
