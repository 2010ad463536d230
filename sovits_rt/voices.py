"""Prepared voices on disk, found again by what they were made from: recordings, text and networks, never by path."""

import hashlib
import logging
import os
import tempfile
import zipfile
from collections.abc import Iterable
from dataclasses import fields
from pathlib import Path

import numpy as np

from sovits_rt.types import Voice

_FORMAT = "voice-1"
_log = logging.getLogger(__name__)


def voice_key(ingredients: Iterable[str]) -> str:
    """ingredients: digests and texts, in a fixed order. Returns 64 hex digits."""
    joined = "\x00".join((_FORMAT, *ingredients))
    return hashlib.sha256(joined.encode("utf-8", "surrogatepass")).hexdigest()


class VoiceCache:
    """folder: created at the first save. A file that can't be read is made again, since it holds nothing of its own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def load(self, key: str) -> Voice | None:
        path = self._path(key)
        try:
            with np.load(path, allow_pickle=False) as stored:
                arrays = {each.name: stored[each.name] for each in fields(Voice)}
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            _log.warning("The cached voice %s can't be read (%s); the voice is prepared again.", path, error)
            return None
        return Voice(**{**arrays, "made_for": str(arrays["made_for"])})

    def save(self, key: str, voice: Voice) -> None:
        """A folder that can't be written to costs the cache, not the speech."""
        path = self._path(key)
        arrays = {each.name: getattr(voice, each.name) for each in fields(Voice)}
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=self._folder, suffix=".tmp", delete=False) as file:
                np.savez(file, **arrays)
            os.replace(file.name, path)
        except OSError as error:
            _log.warning("The prepared voice can't be kept in %s (%s).", self._folder, error)

    def _path(self, key: str) -> Path:
        return self._folder / f"{key}.npz"
