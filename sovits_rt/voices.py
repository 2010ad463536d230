"""Prepared voices on disk, found again by what they were made from: recordings, text and networks, never by path."""

import hashlib
import io
import logging
import os
import tempfile
from collections.abc import Iterable
from dataclasses import fields
from pathlib import Path

import numpy as np

from sovits_rt.types import Voice

_FORMAT = "voice-2"
_DIGEST_BYTES = 32
_log = logging.getLogger(__name__)


def voice_key(ingredients: Iterable[str]) -> str:
    """ingredients: digests and texts, in a fixed order. Returns 64 hex digits."""
    joined = "\x00".join((_FORMAT, *ingredients))
    return hashlib.sha256(joined.encode("utf-8", "surrogatepass")).hexdigest()


class VoiceCache:
    """folder: created at the first save. A file is the SHA-256 of what follows, then a .npz of a Voice's fields.

    One that is damaged is made again, since it holds nothing of its own.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def load(self, key: str) -> Voice | None:
        path = self._path(key)
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            _log.warning("The cached voice %s can't be read (%s); the voice is prepared again.", path, error)
            return None
        digest, packed = content[:_DIGEST_BYTES], content[_DIGEST_BYTES:]
        if hashlib.sha256(packed).digest() != digest:
            _log.warning("The cached voice %s is damaged; the voice is prepared again.", path)
            return None
        with np.load(io.BytesIO(packed), allow_pickle=False) as stored:
            arrays = {each.name: stored[each.name] for each in fields(Voice)}
        return Voice(**{**arrays, "made_for": str(arrays["made_for"])})

    def save(self, key: str, voice: Voice) -> None:
        """A folder that can't be written to costs the cache, not the speech."""
        buffer = io.BytesIO()
        np.savez(buffer, **{each.name: getattr(voice, each.name) for each in fields(Voice)})
        packed = buffer.getvalue()
        try:
            self._write(self._path(key), hashlib.sha256(packed).digest() + packed)
        except OSError as error:
            _log.warning("The prepared voice can't be kept in %s (%s).", self._folder, error)

    def _write(self, path: Path, content: bytes) -> None:
        """Whole or not at all."""
        self._folder.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=self._folder, suffix=".tmp")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
            os.replace(temporary, path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise

    def _path(self, key: str) -> Path:
        return self._folder / f"{key}.voice"
