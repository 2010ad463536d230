"""The gate on words: what it lets pass, what it catches, and what it says when nobody can listen."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from autotune.machine import Cpu, Machine, Memory, Software
from sovits_rt import bundled
from sovits_rt.evaluation import listening
from sovits_rt.evaluation.listening import (
    MOST_POINTS,
    SENTENCES,
    ListeningRunner,
    ListeningSubject,
    WordCheck,
    listening_subject,
    word_gates,
)
from sovits_rt.settings import Settings
from sovits_rt.types import AudioChunk, Sampling, Sentence

MACHINE = Machine(
    Cpu("amd", "Test", "25.1", "x86_64", ("avx2",), logical_cores=2, physical_cores=2, affinity=(0, 1)),
    Memory(1 << 34, 1 << 33),
    (),
    Software("3.11", "linux", "6"),
)


class Playing:
    """An engine that plays recordings instead of speaking."""

    def __init__(self, recordings):
        self._recordings = recordings

    def speak(self, sentences, request) -> Iterator[AudioChunk]:
        for index, (samples, rate) in enumerate(self._recordings):
            yield AudioChunk(index, sentences[index], np.zeros(0, np.int64), samples, samples, rate)


def listened(texts, recordings, request):
    sentences = [[Sentence(text, ())] for text in texts]
    return ListeningRunner(Playing(recordings), request, texts, sentences).run(0)


def test_a_real_recogniser_tells_speech_from_broken_speech(texts, rms, request_of_nobody):
    good = listened(texts[:2], rms.sentences[:2], request_of_nobody)
    assert good["words"].tolist() == [9, 9]
    assert good["errors"].sum() <= 1
    torn = [(samples[::-1].copy(), rate) for samples, rate in rms.sentences[:2]]
    (gate,) = word_gates(good, listened(texts[:2], torn, request_of_nobody))
    print(gate.sentence)
    assert not gate.passed
    assert gate.value > 50
    (gate,) = word_gates(good, good)
    assert (gate.passed, gate.value) == (True, 0)


def counts(errors, words=8):
    return {"errors": np.asarray(errors), "words": np.full(len(errors), words)}


REFERENCE = np.tile([0, 1, 2], 20)
ONE = np.eye(1, 60, 4, dtype=int)[0]


@pytest.mark.parametrize(
    ("errors", "passed"),
    [
        (REFERENCE, True),
        (np.maximum(REFERENCE - 1, 0), True),
        (REFERENCE + 7 * ONE, True),  # of 480 words: 1.5 points
        (REFERENCE + 10 * ONE, False),  # 2.1 points
        (REFERENCE + (np.arange(60) % 3 == 0), False),  # 4.2 points
        (np.full(60, 8), False),
    ],
)
def test_the_gate(errors, passed):
    (gate,) = word_gates(counts(REFERENCE), counts(errors))
    print(gate.sentence)
    assert gate.passed is passed
    assert gate.value == pytest.approx(100 * (np.sum(errors) - REFERENCE.sum()) / 480)
    assert gate.limit == MOST_POINTS


@pytest.mark.parametrize(("repeated", "lost", "least", "most"), [(0.7, 0.0, 0, 12), (0.7, 0.05, 90, 100)])
def test_how_often_it_refuses(repeated, lost, least, most):
    """Of a hundred settings that say most sentences as the defaults do, and lose so much more of all words."""
    generator = np.random.default_rng(5)
    refused = 0
    for _ in range(100):
        chance = 0.7 * generator.beta(1, 6, SENTENCES)  # some sentences are hard for both
        reference, other = (generator.binomial(8, chance) for _ in range(2))
        output = np.where(generator.random(SENTENCES) < repeated, reference, other)
        output = output + generator.binomial(8 - output, lost)
        refused += not word_gates(counts(reference), counts(output))[0].passed
    print(f"{refused} of 100 refused")
    assert least <= refused <= most


def test_nobody_can_listen_without_the_extra_or_without_a_voice(monkeypatch, tmp_path):
    monkeypatch.setattr(bundled, "folder", lambda: tmp_path)
    assert listening_subject() == (None, "no English voice comes with this build of sovits-rt")
    monkeypatch.setattr(listening, "missing", lambda: "pocketsphinx")
    name, why_not = listening_subject()
    assert name is None
    assert why_not == "pocketsphinx not installed (pip install 'sovits-rt[quality]')"
    told = []
    check = WordCheck.of(MACHINE, brief=False, tell=told.append)
    assert told == [f"the words that inexact settings cost are not counted: {why_not}"]
    assert check.examiner is None
    assert check.noted("faster", exact=False) == f"faster; the words it costs were not counted: {why_not}"
    assert check.noted("faster", exact=True) == "faster"


def test_a_brief_tuning_says_that_it_did_not_listen():
    assert "brief" in WordCheck.of(MACHINE, brief=True, tell=print).noted("faster", exact=False)


def test_a_bundled_voice_speaks_what_evaluate_leaves_out(monkeypatch, small_voices):
    monkeypatch.setattr(bundled, "folder", lambda: small_voices)
    monkeypatch.setattr("sovits_rt.process.apply", lambda *_: None)
    monkeypatch.setattr("sovits_rt.process.set_threads", lambda *_: None)
    check = WordCheck.of(MACHINE, brief=False, tell=print)
    assert check.examiner is not None
    assert check.noted("faster", exact=False) == "faster"
    name, _ = listening_subject()
    assert name is not None
    subject = name.create()
    assert isinstance(subject, ListeningSubject)
    assert subject.voice == "en-second"
    runner = subject.open(Settings(), MACHINE)
    assert len(runner._texts) == len(runner._sentences) == SENTENCES
    assert runner._request.sampling == Sampling(5, 0.9, 0.7, 1.1)
    short = ListeningRunner(
        runner._speaker, replace(runner._request, max_tokens=20), runner._texts[:2], runner._sentences[:2]
    )
    found = short.run(0)
    assert found["words"].tolist() == [7, 8]
    assert found["errors"].min() >= 5  # random networks say nothing
