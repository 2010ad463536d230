"""Read recordings. wav, flac, ogg and mp3 through libsndfile; AAC and the rest through PyAV (extra `m4a`)."""

from pathlib import Path

import numpy as np
import soundfile

from sovits_rt.errors import AudioError, MissingExtraError
from sovits_rt.types import Floats

LOWEST_RATE, HIGHEST_RATE = 4_000, 384_000  # Hz; outside, the header is damaged or it is no recording of speech
PYAV_SUFFIXES = frozenset(
    (".3gp", ".aac", ".ac3", ".amr", ".ape", ".m4a", ".m4b", ".mka", ".mkv", ".mov", ".mp4", ".webm", ".wma")
)


def read(path: str | Path) -> tuple[Floats, int]:
    """All samples of a recording as [channels, n] in [-1, 1] (a little more is possible), and its rate in Hz.

    Raises:
        AudioError: the file is missing, empty, not audio, without samples, with an absurd rate or with NaN.
        MissingExtraError: the format needs PyAV, which is not installed.
    """
    path = Path(path)
    check_is_file(path)
    try:
        frames, rate = soundfile.read(path, dtype="float32", always_2d=True)
        samples = np.ascontiguousarray(frames.T)
    except soundfile.LibsndfileError as error:
        samples, rate = read_with_pyav(path, error.error_string.rstrip(".").replace(". ", "; "))
    check_samples(path, samples, int(rate))
    return samples, int(rate)


def check_is_file(path: Path) -> None:
    try:
        size = path.stat().st_size
    except FileNotFoundError:
        raise AudioError(f"There is no recording {path}; check the path.") from None
    except OSError as error:
        raise AudioError(f"The recording {path} can't be opened ({error.strerror}); check the path.") from error
    if path.is_dir():
        raise AudioError(f"{path} is a folder; give the path of one sound file in it.")
    if size == 0:
        raise AudioError(f"The recording {path} is empty (0 bytes); copy it again.")


def check_samples(path: Path, samples: Floats, rate: int) -> None:
    if not LOWEST_RATE <= rate <= HIGHEST_RATE:
        raise AudioError(
            f"The recording {path} says its sample rate is {rate:,} Hz; expected {LOWEST_RATE:,} to "
            f"{HIGHEST_RATE:,} Hz: save it again with a usual rate such as 44,100 Hz."
        )
    if samples.size == 0:
        raise AudioError(f"The recording {path} has no samples; record it again.")
    if not np.isfinite(samples).all():
        raise AudioError(f"The recording {path} has samples that are no numbers (NaN or infinite); export it again.")


def read_with_pyav(path: Path, reason: str) -> tuple[Floats, int]:
    """[channels, n] and rate of the first sound track. reason: what libsndfile said about the file."""
    try:
        import av
        import av.error
    except ImportError:
        if path.suffix.lower() in PYAV_SUFFIXES:
            raise MissingExtraError(
                f"To read {path} (a {path.suffix} file) the package av is needed; install it with "
                "pip install 'sovits-rt[m4a]', or convert the recording to wav."
            ) from None
        raise unreadable(path, reason) from None
    blocks = []
    try:
        with av.open(str(path)) as container:
            if not container.streams.audio:
                raise AudioError(f"{path} has no sound track; give a recording of speech.")
            rate = int(container.streams.audio[0].rate)
            as_planar_floats = av.AudioResampler(format="fltp")
            for frame in container.decode(audio=0):
                blocks += [block.to_ndarray() for block in as_planar_floats.resample(frame)]
    except (av.error.FFmpegError, UnicodeDecodeError) as error:
        raise unreadable(path, reason) from error
    samples = np.concatenate(blocks, axis=1) if blocks else np.zeros((1, 0), np.float32)
    return np.ascontiguousarray(samples, np.float32), rate


def unreadable(path: Path, reason: str) -> AudioError:
    return AudioError(f"{path} is no recording that can be read ({reason}); give a wav, flac, ogg or mp3 file.")
