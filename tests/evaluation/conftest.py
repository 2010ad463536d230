"""Two voices of flite reading three sentences and two strings of digits; see tests/data/speech."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from sovits_rt.evaluation.judgement import Recording
from sovits_rt.evaluation.recogniser import Recogniser
from sovits_rt.evaluation.speech import load
from sovits_rt.types import Request, Voice

FOLDER = Path(__file__).resolve().parent.parent / "data" / "speech"


@dataclass(frozen=True)
class Reading:
    sentences: list[Recording]
    digits: list[Recording]


def reading(voice: str) -> Reading:
    return Reading(
        *(list(load(sorted(folder.glob("*.ogg")))) for folder in (FOLDER / voice, FOLDER / voice / "digits"))
    )


@pytest.fixture(scope="session")
def texts() -> list[str]:
    return (FOLDER / "sentences.txt").read_text(encoding="utf-8").splitlines()


@pytest.fixture(scope="session")
def rms() -> Reading:
    """A man, whom the recogniser understands well."""
    return reading("rms")


@pytest.fixture(scope="session")
def slt() -> Reading:
    """A woman, whom it understands less well."""
    return reading("slt")


@pytest.fixture(scope="session")
def recogniser() -> Recogniser:
    return Recogniser()


@pytest.fixture
def request_of_nobody() -> Request:
    """A request for speakers that look at nothing in it."""
    nothing, no_tokens = np.zeros(0, np.float32), np.zeros(0, np.int64)
    return Request("", "en", Voice("", no_tokens, nothing, no_tokens, nothing, nothing))
