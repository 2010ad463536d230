"""Profiles that leave this machine, and those that come in."""

import platform
import re
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from autotune import plain
from autotune.errors import ProfileError
from autotune.profile import PRIVATE, Profile, from_dict, redacted, to_dict

# Words from fixed lists, knobs and the facts of a class: they are checked, but not rewritten.
_KEPT = ("id", "subject", "scenario", "status", "match", "settings", "environment", "schema")
_PATH = r"(?<![\w./-])(?:~?/|[A-Za-z]:\\)[\w.+@-]+(?:[/\\][\w.+@-]+)+"
_COMMON_NAMES = frozenset({"localhost", "root", "user", "admin", "home", "ubuntu"})


def own_names() -> tuple[str, ...]:
    """Names of this machine and its user, to be left out of what is shared; those that everybody has are not."""
    node = platform.node()
    names = {node, node.partition(".")[0], Path.home().name}
    return tuple(sorted(name for name in names if len(name) > 2 and name.lower() not in _COMMON_NAMES))


def shareable(profile: Profile, names: Iterable[str] = ()) -> tuple[Profile, tuple[str, ...]]:
    """The profile without serial numbers, UUIDs, addresses, paths and `names` in its free texts, and where they were.

    Raises ProfileError if something like that is in a place where it can't be left out.
    """
    words = "|".join(re.escape(name) for name in sorted(names, key=len, reverse=True))
    more = re.compile(rf"{_PATH}|(?<!\w)(?:{words})(?!\w)" if words else _PATH, re.IGNORECASE)
    places: list[str] = []
    data = plain.to_plain(profile)
    for part in data.keys() - set(_KEPT):
        data[part] = _without(data[part], part, more, places)
    clean = from_dict(data)
    to_dict(clean)
    return clean, tuple(sorted(places))


def _without(value: Any, where: str, more: re.Pattern[str], places: list[str]) -> Any:
    if isinstance(value, dict):
        return {key: _without(item, f"{where}.{key}", more, places) for key, item in value.items()}
    if isinstance(value, list):
        return [_without(item, f"{where}[{index}]", more, places) for index, item in enumerate(value)]
    if isinstance(value, str) and (PRIVATE.search(value) or more.search(value)):
        places.append(where)
        return redacted(value, more)
    return value


def brought_in(profile: Profile) -> Profile:
    """A profile from elsewhere as a candidate of this machine. Raises ProfileError for what may not come in."""
    if profile.status == "rejected":
        raise ProfileError(f"{profile.id} was rejected when it was measured, so it is not taken in; tune instead.")
    provenance = profile.provenance
    if provenance.origin != "derived":
        provenance = replace(provenance, origin="imported")
    taken = replace(profile, status="candidate", provenance=provenance)
    to_dict(taken)
    return taken
