"""Write sound: one writer that takes chunks, for files and for streams; a whole output is one chunk.

    with AudioWriter("hello.ogg", rate=32_000) as writer:
        for chunk in chunks:
            writer.write(chunk)

A file appears under its name when it is complete; after an error an earlier file of that name is still there.
"""

import contextlib
import os
import struct
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

import numpy as np
import soundfile

from sovits_rt.audio.join import pcm16
from sovits_rt.errors import AudioError
from sovits_rt.types import Floats

UNKNOWN_LENGTH = 0xFFFF_FFFF  # readers of a streamed wav take it as "until the end"
WAV_HEADER_BYTES = 44


@dataclass(frozen=True, slots=True)
class Format:
    """container, coding: libsndfile's names, "" for raw samples. lossless: 16-bit integers are stored as they are."""

    container: str
    coding: str
    lossless: bool


FORMATS: dict[str, Format] = {
    "wav": Format("WAV", "PCM_16", lossless=True),
    "flac": Format("FLAC", "PCM_16", lossless=True),
    "ogg": Format("OGG", "VORBIS", lossless=False),
    "mp3": Format("MP3", "MPEG_LAYER_III", lossless=False),
    "pcm": Format("", "", lossless=True),  # 16-bit little-endian samples without a header
}


class RememberedFailure:
    """A binary stream for libsndfile: it never raises, as its caller is C code; the first error is kept instead."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self.error: OSError | None = None

    def write(self, data: bytes) -> int:
        if self.error is None:
            try:
                return self._stream.write(data)
            except OSError as error:
                self.error = error
        return len(data)

    def seek(self, offset: int, whence: int = 0) -> int:
        if self.error is None:
            try:
                return self._stream.seek(offset, whence)
            except OSError as error:
                self.error = error
        return 0

    def tell(self) -> int:
        return 0 if self.error else self._stream.tell()


class AudioWriter:
    """Mono sound to a file, or to a binary stream that the caller opened and closes.

    target: path, or stream. rate: Hz. format: one of FORMATS; for a path it defaults to the suffix.
    A stream that can't seek (a pipe, a socket) takes pcm, and wav with a header that leaves the length open.

    Raises:
        AudioError: unknown format, or the place can't be written.
    """

    def __init__(self, target: str | Path | BinaryIO, rate: int, format: str | None = None) -> None:
        self._rate = rate
        self._path = Path(target) if isinstance(target, str | Path) else None
        self._name = str(target) if self._path else "the stream"
        self._format = find_format(self._name, format or (self._path.suffix[1:] if self._path else ""))
        self._unfinished: Path | None = None
        self._encoder: Any = None
        self._stream: BinaryIO = self._open() if isinstance(target, str | Path) else target
        self._output = RememberedFailure(self._stream)
        try:
            self._start()
        except BaseException:
            self._discard()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if kind is None:
            self.close()
        else:
            self._discard()

    def write(self, samples: Floats) -> None:
        """Append [n] samples in [-1, 1]; what is beyond saturates.

        Raises:
            AudioError: a sample is no number, or the disk is full.
        """
        integers = pcm16(samples)
        try:
            if self._encoder is None:
                self._stream.write(integers.astype("<i2", copy=False).tobytes())
                return
            data = integers if self._format.lossless else np.clip(samples, -1.0, 1.0)
            # libsndfile's Vorbis encoder crashes when it gets about a minute in one call
            for start in range(0, data.shape[0], self._rate):
                self._encoder.write(data[start : start + self._rate])
                self._check_output()
        except (OSError, soundfile.LibsndfileError) as error:
            raise self._stopped(error) from error

    def close(self) -> None:
        """Complete the file. A stream is flushed and stays open."""
        try:
            if self._encoder is not None:
                self._encoder.close()
                self._check_output()
            if self._path is None:
                self._stream.flush()
                return
            self._stream.close()
            if self._unfinished is not None:
                self._unfinished.replace(self._path)
        except (OSError, soundfile.LibsndfileError) as error:
            self._discard()
            raise self._stopped(error) from error

    def _open(self) -> BinaryIO:
        assert self._path is not None
        if self._path.is_dir():
            raise AudioError(f"{self._path} is a folder; give a file name in it, such as {self._path / 'out.wav'}.")
        special = self._path.exists() and not self._path.is_file()  # a device or a named pipe can't be replaced
        if not special:
            self._unfinished = self._path.with_name(f".{self._path.name}.{os.getpid()}.part")
        try:
            return open(self._unfinished or self._path, "wb")
        except OSError as error:
            raise AudioError(
                f"{self._path} can't be written ({error.strerror}); choose an existing folder that you may write to."
            ) from error

    def _start(self) -> None:
        """Begin the encoder, or write the header of a stream that can't seek."""
        if not self._format.container:
            return
        if self._stream.seekable():
            self._encoder = open_encoder(self._output, self._rate, self._format, self._name)
        elif self._format.container == "WAV":
            self._stream.write(wav_header(self._rate))
        else:
            raise AudioError(
                f"{self._format.container} can't go to {self._name}, as it can't seek; ask for wav or pcm."
            )

    def _check_output(self) -> None:
        if self._output.error is not None:
            raise self._output.error

    def _stopped(self, error: Exception) -> AudioError:
        return AudioError(f"Writing {self._name} stopped: {error}; free some space or choose another place.")

    def _discard(self) -> None:
        # The error that led here is the one to report; what closing says about a broken target adds nothing to it.
        with contextlib.suppress(OSError, soundfile.LibsndfileError):
            if self._encoder is not None:
                self._encoder.close()
        if self._path is not None:
            with contextlib.suppress(OSError):
                self._stream.close()
        if self._unfinished is not None:
            self._unfinished.unlink(missing_ok=True)


def find_format(name: str, wanted: str) -> Format:
    found = FORMATS.get(wanted.lower())
    if found is None:
        asks = f"asks for the format {wanted!r}" if wanted else "has no suffix to tell the format by"
        raise AudioError(f"{name} {asks}; these can be written: {', '.join(FORMATS)}; name one of them.")
    return found


def open_encoder(stream: RememberedFailure, rate: int, format: Format, name: str) -> Any:
    try:
        return soundfile.SoundFile(stream, "w", rate, 1, format.coding, format=format.container)
    except (ValueError, soundfile.LibsndfileError) as error:
        raise AudioError(f"{name} can't be written as {format.container} at {rate:,} Hz ({error}); use wav.") from error


def write(path: str | Path, samples: Floats, rate: int) -> None:
    """Write [n] samples in [-1, 1] to a file whose suffix names the format.

    Raises:
        AudioError: see AudioWriter.
    """
    with AudioWriter(path, rate) as writer:
        writer.write(samples)


def wav_header(rate: int, samples: int | None = None) -> bytes:
    """44 bytes before 16-bit mono samples; with samples None the length is left open, for streams."""
    data_bytes = UNKNOWN_LENGTH if samples is None else 2 * samples
    riff_bytes = UNKNOWN_LENGTH if samples is None else data_bytes + WAV_HEADER_BYTES - 8
    description = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, rate, 2 * rate, 2, 16)
    return struct.pack("<4sI4s", b"RIFF", riff_bytes, b"WAVE") + description + struct.pack("<4sI", b"data", data_bytes)
