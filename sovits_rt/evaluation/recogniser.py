"""What a recogniser hears: pocketsphinx with the US English model that its package carries (extra `quality`).

Every recording is brought to one loudness and gets the same silence around it, so that neither counts. A recording's
words do not depend on what was heard before it.
"""

import importlib.metadata
import importlib.util
from pathlib import Path
from typing import Any

import numpy as np

from sovits_rt.audio.join import pcm16
from sovits_rt.audio.resample import soxr_hq
from sovits_rt.errors import MissingExtraError
from sovits_rt.evaluation.sounds import RATE, levelled
from sovits_rt.types import Floats

PACKAGES = ("pocketsphinx", "jiwer")
DIGITS = ("zero", "oh", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
SILENCE_SECONDS = 0.2
# Wider than the defaults (1e-48, 7e-29, 1e-48): then the search drops fewer words that fit, in 1.6 times the time.
_BEAMS = {"beam": 1e-60, "wbeam": 1e-40, "pbeam": 1e-60}


def missing() -> str:
    """The packages of the extra `quality` that are not installed, for a message; "" if it is complete."""
    return " and ".join(name for name in PACKAGES if importlib.util.find_spec(name) is None)


def require_extra() -> None:
    """Raises MissingExtraError if a package of the extra is not installed."""
    names = missing()
    if names:
        raise MissingExtraError(
            f"To judge speech {names} is needed and not installed; install it with pip install 'sovits-rt[quality]'."
        )


def recogniser_name() -> str:
    """Such as "pocketsphinx 5.1.1 en-us": part of every result, since another one hears other words."""
    require_extra()
    return f"pocketsphinx {importlib.metadata.version('pocketsphinx')} en-us"


class Recogniser:
    """digits: expect only DIGITS, one or more; else any words of the model's dictionary.

    Raises MissingExtraError without the extra.
    """

    def __init__(self, *, digits: bool = False) -> None:
        require_extra()
        import pocketsphinx

        # Named by hand: the package itself would follow an environment variable to another model.
        model = Path(pocketsphinx.__file__).parent / "model" / "en-us"
        options: dict[str, Any] = {
            "hmm": str(model / "en-us"),
            "dict": str(model / "cmudict-en-us.dict"),
            "lm": None if digits else str(model / "en-us.lm.bin"),
            "samprate": RATE,
            "cmn": "batch",  # the default adapts to one recording after the other
            "loglevel": "FATAL",
        }
        self._decoder = pocketsphinx.Decoder(**options, **({} if digits else _BEAMS))
        if digits:
            self._decoder.add_jsgf_string("digits", _grammar())
            self._decoder.activate_search("digits")

    def words(self, samples: Floats, rate: int) -> tuple[str, ...]:
        """The words in [n] samples at `rate` Hz, lower case; none if nothing was understood.

        Raises AudioError for samples that are no numbers.
        """
        if not samples.any():
            return ()
        silence = np.zeros(int(SILENCE_SECONDS * RATE), np.float32)
        wave = pcm16(np.concatenate([silence, levelled(soxr_hq(samples, rate, RATE), RATE), silence]))
        self._decoder.start_utt()
        self._decoder.process_raw(wave.tobytes(), full_utt=True)
        self._decoder.end_utt()
        heard = self._decoder.hyp()
        return () if heard is None else tuple(heard.hypstr.split())


def _grammar() -> str:
    return f"#JSGF V1.0;\ngrammar digits;\npublic <digits> = ( {' | '.join(DIGITS)} )+;\n"
