"""Recordings judged alone and against a teacher."""

import json

import numpy as np
import pytest

from sovits_rt.evaluation.judgement import judge


@pytest.fixture(scope="module")
def compared(texts, rms, slt):
    return judge(texts, slt.sentences, rms.sentences)


def test_every_number_is_there(compared):
    found = json.loads(json.dumps(compared.as_dict()))
    print(json.dumps({key: value for key, value in found.items() if key != "each"}, indent=1))
    assert (found["recordings"], found["words"], found["problems"]) == (3, 26, [])
    rate, teacher = found["word_error_rate"], found["teacher"]
    assert 0 < rate["value"] < 0.3
    assert teacher["word_error_rate"]["value"] < rate["value"]
    assert teacher["difference"]["value"] == pytest.approx(rate["value"] - teacher["word_error_rate"]["value"])
    assert 5 < teacher["log_mel_distance_decibels"] < 12
    assert 0.7 < teacher["length_ratio"] < 1.1
    assert 1.5 < teacher["pitch_ratio"] < 1.9
    assert teacher["sane_lengths"]["value"] == 1
    one = found["each"][1]
    assert one["text"] == "She put the red cup on the kitchen table."
    assert one["errors"]["words"] == 9
    assert set(one["sound"]) == {"seconds", "level_decibels", "pitch_hz", "voiced", "problems"}


def test_a_teacher_equals_itself(texts, rms):
    found = judge(texts[:1], rms.sentences[:1], rms.sentences[:1]).as_dict()["teacher"]
    assert found["difference"] == {"value": 0, "low": 0, "high": 0}
    assert found["log_mel_distance_decibels"] == 0
    assert (found["length_ratio"], found["pitch_ratio"]) == (1, 1)


def test_a_cut_off_a_silent_and_a_wrong_recording_show(texts, rms):
    (first, rate), second, third = rms.sentences
    faulty = [(first[: len(first) // 2], rate), (np.zeros_like(second[0]), rate), (third[0], rate)]
    found = judge(texts, faulty, rms.sentences)
    assert found.sane_lengths is not None
    assert found.sane_lengths.value == pytest.approx(1 / 3)
    assert found.problems == ["2: silent"]
    assert found.each[0].errors.count >= 3
    assert found.each[1].errors.deletions == 9
    assert found.difference is not None
    assert found.difference.value > 0.3
    swapped = judge(texts[:2], [rms.sentences[1], rms.sentences[0]])
    assert swapped.word_error_rate.value > 0.6


def test_digits_and_progress(rms):
    from sovits_rt.evaluation.sentences import digit_strings

    seen = []
    found = judge(digit_strings(2), rms.digits, digits=True, on_recording=lambda: seen.append(1))
    assert len(seen) == 2
    assert found.accuracy.value == 1
    assert "teacher" not in found.as_dict()


def test_lists_of_other_lengths_are_a_mistake(texts, rms):
    with pytest.raises(ValueError, match="zip"):
        judge(texts[:2], rms.sentences[:1])
