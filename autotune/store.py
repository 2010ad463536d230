"""Profiles on disk: read them safely, write them whole, choose the one for this machine, remember a declined tuning."""

import datetime
import errno
import math
import os
import re
import stat
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
from autotune.fingerprint import Fingerprint, distance, fingerprint, is_exact, software_changes, software_stamp
from autotune.machine import Machine
from autotune.plain import shortened
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


@dataclass(frozen=True, slots=True)
class Considered:
    """A profile as seen from one machine.

    profile: with the status that it has there. origin: "local" or "shipped". how: as in Resolution, "" for one that
    does not count there. reason: why, in a sentence's part. distance: None if nothing can be learned from it.
    """

    profile: Profile
    origin: str
    how: str
    reason: str
    distance: float | None = None


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

    software: versions in use, by default those of the machine. Rejected profiles never count, nor what was rejected
    when it was verified here. Raises ProfileError if a profile file is damaged, with its path and what to do.
    """
    view = _View.of(machine, subject, scenario, software)
    local = view.local(user_dir)
    own = _ordered(local, view.facts)
    if own and own[0].how == "exact-local":  # start-up need not read what was shipped
        return view.resolution(own[0])
    everything = _ordered([*local, *view.shipped(shipped_dirs, local)], view.facts)
    return view.resolution(everything[0] if everything else None)


def consider(
    machine: Machine,
    *,
    subject: str,
    scenario: str,
    user_dir: Path,
    shipped_dirs: Iterable[Path] = (),
    software: Mapping[str, str] | None = None,
) -> list[Considered]:
    """Every known profile with what it is worth on this machine, best first: `resolve` takes the first that counts."""
    view = _View.of(machine, subject, scenario, software)
    local = view.local(user_dir)
    return _ordered([*local, *view.shipped(shipped_dirs, local)], view.facts)


@dataclass(frozen=True, slots=True)
class _View:
    facts: Fingerprint
    subject: str
    scenario: str
    versions: Mapping[str, str]

    @classmethod
    def of(cls, machine: Machine, subject: str, scenario: str, software: Mapping[str, str] | None) -> "_View":
        versions = software_stamp(machine) if software is None else software
        return cls(fingerprint(machine), subject, scenario, versions)

    def local(self, folder: Path) -> list[Considered]:
        return [self._seen(load(path), "local", frozenset()) for path in files(folder)]

    def shipped(self, folders: Iterable[Path], local: Iterable[Considered]) -> list[Considered]:
        refused = frozenset(
            name
            for each in local
            if self._rejected_here(each.profile)
            for name in (each.profile.id, each.profile.provenance.source)
        )
        return [self._seen(load(path), "shipped", refused) for folder in folders for path in files(folder)]

    def _rejected_here(self, profile: Profile) -> bool:
        """Of the same software: with another one it may be worth another try."""
        evidence = profile.evidence
        return (
            profile.status == "rejected"
            and is_exact(profile.match.facts, self.facts)
            and not (evidence and software_changes(evidence.software, self.versions))
        )

    def _seen(self, profile: Profile, origin: str, refused: frozenset[str]) -> Considered:
        apart = distance(profile.match.facts, self.facts)
        where = profile.match.hw_class
        if (profile.subject, profile.scenario) != (self.subject, self.scenario):
            return Considered(profile, origin, "", f"made for {profile.subject}, {profile.scenario}", apart)
        if profile.status == "rejected":
            return Considered(profile, origin, "", "rejected when it was measured", apart)
        if profile.id in refused:
            return Considered(profile, origin, "", "rejected when it was verified on this machine", apart)
        if apart is None:
            return Considered(profile, origin, "", f"{where} is another vendor or kind of machine")
        if is_exact(profile.match.facts, self.facts):
            if origin == "shipped":
                reason = "for this kind of machine, not verified here yet"
                return Considered(replace(profile, status="candidate"), origin, "exact-shipped", reason, 0.0)
            aged = _aged(profile, self.versions)
            reason = (
                _stale_note(aged, self.versions) if aged.status == "stale" else f"made for this machine, {aged.status}"
            )
            return Considered(aged, origin, "exact-local", reason, 0.0)
        if apart > NEAREST_LIMIT:
            reason = f"{where} is too far from here (distance {apart:.2f}, at most {NEAREST_LIMIT:g})"
            return Considered(profile, origin, "", reason, apart)
        reason = f"for {where}, distance {apart:.2f}"
        return Considered(replace(profile, status="candidate"), origin, "nearest", reason, apart)

    def resolution(self, best: Considered | None) -> Resolution:
        here = self.facts.hw_class
        if best is None or not best.how:
            return Resolution(None, "none", (f"No profile for {here} or a machine like it; the defaults are used.",))
        notes: tuple[str, ...] = ()
        if best.how == "nearest":
            where, apart = best.profile.match.hw_class, best.distance
            notes = (f"No profile for {here}; the nearest is for {where} (distance {apart:.2f}).",)
        elif best.how == "exact-shipped":
            notes = ("A profile for this kind of machine came with sovits-rt; it has not been verified here yet.",)
        elif best.profile.status == "stale":
            notes = (best.reason,)
        return Resolution(best.profile, best.how, notes, best.distance)


def _ordered(seen: Iterable[Considered], here: Fingerprint) -> list[Considered]:
    """Exact local ones, exact shipped ones, near ones (of the same architecture first), those that don't count."""
    by_worth = sorted(seen, key=lambda each: _rank(each.profile), reverse=True)

    def place(each: Considered) -> tuple[int, bool, float, str]:
        tier = ("exact-local", "exact-shipped", "nearest", "").index(each.how)
        if tier < 2:
            return tier, False, 0.0, ""  # in the order of their worth
        apart = math.inf if each.distance is None else each.distance
        return tier, each.profile.match.facts.arch != here.arch, apart, each.profile.id

    return sorted(by_worth, key=place)


def _aged(profile: Profile, versions: Mapping[str, str]) -> Profile:
    if profile.evidence is None or profile.status not in ("verified", "default-confirmed"):
        return profile
    return replace(profile, status="stale") if software_changes(profile.evidence.software, versions) else profile


def _stale_note(profile: Profile, versions: Mapping[str, str]) -> str:
    changes = [] if profile.evidence is None else software_changes(profile.evidence.software, versions)
    if not changes:
        return "The profile is marked stale; it must be verified again."
    return f"The profile was measured with other software ({', '.join(changes)}); it must be verified again."


def _rank(profile: Profile) -> tuple[int, str]:
    order = ("rejected", "stale", "candidate", "default-confirmed", "verified")
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
        reason = shortened(str(error).rstrip("."))
        joint = ", " if reason.endswith("update sovits-rt") else "; "
        raise ProfileError(f"{path} can't be used: {reason}{joint}{remedy}.") from error


def save(profile: Profile, folder: Path) -> Path:
    """Write `<id>.yaml` into folder (made if needed), whole or not at all; return its path.

    Raises ProfileError if it is too large, names an individual machine, or can't be written.
    """
    path = folder / f"{profile.id}.yaml"
    write(profile, path)
    return path


def write(profile: Profile, path: Path) -> None:
    """Write it to this file, whole or not at all. Raises as `save` does, and for a path that is no plain file."""
    if path.exists() and not path.is_file():
        raise ProfileError(f"{path} can't be written (it is not a plain file); name another.")
    _write_yaml(path, profiles.to_dict(profile))


def as_text(profile: Profile) -> str:
    """What the file of this profile holds. Raises ProfileError as `save` does."""
    return _yaml_text(profiles.to_dict(profile))


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
    """No repeated keys, only texts as keys, only true and false as booleans, only decimal numbers of sane length."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        known: set[str] = set()
        for name, _ in node.value:
            key = self.construct_object(name, deep=True)
            if not isinstance(key, str):
                raise ProfileError(f"the key {key!r} is not a text")
            if key in known:
                raise ProfileError(f"the key {key!r} is there twice")
            known.add(key)
        return super().construct_mapping(node, deep=deep)


# YAML 1.1 reads `off` as False, 2026-01-02 as a date, 1:30 as 90 and 0x… as a number of any length; knobs and dates
# here are texts, numbers are decimal.
_INT = "tag:yaml.org,2002:int"
_DECIMAL = re.compile(r"[-+]?(?:0|[1-9][0-9]{0,99})$")
_StrictLoader.yaml_implicit_resolvers = {
    first: [
        (tag, _DECIMAL if tag == _INT else pattern)
        for tag, pattern in resolvers
        if tag not in ("tag:yaml.org,2002:timestamp", "tag:yaml.org,2002:merge")
        and (tag != "tag:yaml.org,2002:bool" or first in "tTfF")
    ]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def _read_yaml(path: Path) -> Any:
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # reading a pipe would wait for ever
            raise ProfileError("it is not a plain file")
        with path.open("rb") as file:
            raw = file.read(SIZE_LIMIT_BYTES + 1)
    except OSError as error:
        raise ProfileError(f"it can't be read ({error.strerror})") from error
    if len(raw) > SIZE_LIMIT_BYTES:
        raise ProfileError(f"it is larger than {SIZE_LIMIT_BYTES // 1024} KiB")
    try:
        text = raw.decode("utf-8")
        _refuse_tricks(text)
        return yaml.load(text, Loader=_StrictLoader)
    except UnicodeDecodeError as error:
        raise ProfileError("it is not UTF-8 text") from error
    except (yaml.YAMLError, ValueError) as error:
        raise ProfileError(f"it is not valid YAML{_place(error, raw)}") from error


def _place(error: Exception, raw: bytes) -> str:
    mark = error.problem_mark if isinstance(error, yaml.MarkedYAMLError) else None
    return "" if mark is None else f" (line {min(mark.line + 1, len(raw.splitlines()))})"


def _refuse_tricks(text: str) -> None:
    """Aliases can blow up a small file, deep nesting a parser, tags make objects, and half a file may look whole: all
    shows in the events, before anything is built."""
    depth, begun = 0, False
    for event in yaml.parse(text, Loader=_SafeLoader):
        if isinstance(event, yaml.AliasEvent):
            raise ProfileError("aliases (*name) are not allowed")
        if (tag := getattr(event, "tag", None)) is not None:
            raise ProfileError(f"tags ({tag}) are not allowed")
        if isinstance(event, yaml.DocumentStartEvent):
            begun = bool(event.explicit)
        if isinstance(event, yaml.DocumentEndEvent) and begun and not event.explicit:
            raise ProfileError("it begins with '---' but does not end with '...', so it was cut off")
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > DEPTH_LIMIT:
            raise ProfileError(f"it is nested deeper than {DEPTH_LIMIT} levels")


def _yaml_text(data: Mapping[str, Any]) -> str:
    # ASCII only: a raw U+0085 or U+2028 in a text would come back as a line end.
    # Both marks, so that a file that was cut off can be told: see _refuse_tricks.
    text: str = yaml.safe_dump(
        data, sort_keys=False, default_flow_style=None, width=120, explicit_start=True, explicit_end=True
    )
    return text


def _write_yaml(path: Path, data: Mapping[str, Any]) -> None:
    raw = _yaml_text(data).encode("utf-8")
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
