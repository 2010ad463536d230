"""Prepared voices as files, and a cache of them, found by what they were made from: recordings, text and networks,
never by path.

A file is the SHA-256 of what follows, then a .npz of a Voice's fields.
"""

import hashlib
import io
import logging
import os
import tempfile
from collections.abc import Iterable
from dataclasses import fields
from pathlib import Path

import numpy as np

from sovits_rt.checkpoints.files import map_file
from sovits_rt.errors import CheckpointError
from sovits_rt.types import Voice

_FORMAT = "voice-2"
_DIGEST_BYTES = 32
_log = logging.getLogger(__name__)


def voice_key(ingredients: Iterable[str]) -> str:
    """ingredients: digests and texts, in a fixed order. Returns 64 hex digits."""
    joined = "\x00".join((_FORMAT, *ingredients))
    return hashlib.sha256(joined.encode("utf-8", "surrogatepass")).hexdigest()


def pack(voice: Voice) -> bytes:
    """The content of a voice's file."""
    buffer = io.BytesIO()
    np.savez(buffer, **{each.name: getattr(voice, each.name) for each in fields(Voice)})
    packed = buffer.getvalue()
    return hashlib.sha256(packed).digest() + packed


def unpack(content: bytes) -> Voice | None:
    """None if `pack` did not write that content, or something changed it."""
    digest, packed = content[:_DIGEST_BYTES], content[_DIGEST_BYTES:]
    if hashlib.sha256(packed).digest() != digest:
        return None
    with np.load(io.BytesIO(packed), allow_pickle=False) as stored:
        if set(stored.files) != {each.name for each in fields(Voice)}:
            return None
        arrays = {each.name: stored[each.name] for each in fields(Voice)}
    return Voice(**{**arrays, "made_for": str(arrays["made_for"])})


def read(path: Path) -> Voice:
    """The voice of a file that `pack` made the content of. Raises CheckpointError."""
    with map_file(path) as content:
        voice = unpack(content[:])
    if voice is None:
        raise CheckpointError(f"{path} is damaged or is no prepared voice of this release; prepare or copy it again.")
    return voice


class VoiceCache:
    """folder: created at the first save. A damaged file is made again, since it holds nothing of its own."""

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
        voice = unpack(content)
        if voice is None:
            _log.warning("The cached voice %s is damaged; the voice is prepared again.", path)
        return voice

    def save(self, key: str, voice: Voice) -> None:
        """A folder that can't be written to costs the cache, not the speech."""
        try:
            self._write(self._path(key), pack(voice))
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
