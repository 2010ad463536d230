"""Measures of sound on signals whose answer is known, and on two voices."""

import numpy as np
import pytest

from sovits_rt.audio.resample import soxr_hq
from sovits_rt.evaluation.sounds import LEVEL, RATE, distance, levelled, likeness, pitch, sound_of, warped

TIME = np.arange(RATE) / RATE


def tone(hertz, decay=1.0):
    """One second with eight harmonics."""
    return sum(0.1 * np.sin(2 * np.pi * hertz * k * TIME) / k**decay for k in range(1, 9)).astype(np.float32)


@pytest.mark.parametrize("hertz", [70, 104, 172, 250, 390])
def test_pitch_of_tones(hertz):
    found = sound_of(tone(hertz), RATE)
    assert found.pitch_hz == pytest.approx(hertz, rel=2e-3)
    assert found.voiced > 0.95


def test_pitch_follows_a_glide():
    phase = 2 * np.pi * np.cumsum(120 + 60 * TIME) / RATE
    found = pitch((0.1 * np.sin(phase) + 0.05 * np.sin(2 * phase)).astype(np.float32))
    middle = found[10:-10]
    expected = 120 + 60 * (np.arange(len(found))[10:-10] * 160 / RATE)
    print(f"largest difference {np.abs(middle - expected).max():.2f} Hz")
    assert np.abs(middle - expected).max() < 3


def test_noise_has_no_pitch():
    noise = np.random.default_rng(0).normal(scale=0.1, size=RATE).astype(np.float32)
    assert sound_of(noise, RATE).voiced < 0.02


def test_a_man_and_a_woman(rms, slt):
    for reading, low, high in ((rms, 90, 120), (slt, 150, 190)):
        for each in reading.sentences:
            found = sound_of(*each)
            print(found)
            assert low < found.pitch_hz < high
            assert 0.3 < found.voiced < 0.9
            assert found.problems == ()


def test_silence_and_clipping_are_named(rms):
    samples, rate = rms.sentences[0]
    assert sound_of(np.zeros(rate, np.float32), rate).problems == ("silent",)
    assert sound_of(np.zeros(0, np.float32), rate).problems == ("silent",)
    assert sound_of(np.clip(samples * 20, -1, 1), rate).problems == ("clipped",)
    assert sound_of(samples / np.abs(samples).max(), rate).problems == ()


def test_level_is_brought_to_one(rms):
    samples, rate = rms.sentences[0]
    spoken = samples[2000:-6000]
    for scale in (0.01, 0.5):
        level = np.sqrt(np.mean(levelled(spoken * np.float32(scale), rate) ** 2))
        assert level == pytest.approx(LEVEL, rel=0.1)
    click = np.zeros(RATE, np.float32)
    click[8000] = 0.5
    assert np.abs(levelled(click, RATE)).max() == pytest.approx(0.99)


def test_a_recording_is_at_no_distance_from_itself_at_another_level_or_rate(rms):
    samples, rate = rms.sentences[0]
    assert distance(samples, samples) == 0
    assert distance(samples * 0.1, samples) < 0.01
    assert distance(soxr_hq(soxr_hq(samples, rate, 48_000), 48_000, rate), samples) < 0.7


def test_distance_grows_with_what_differs(rms, slt):
    same, other_voice = rms.sentences[0][0], slt.sentences[0][0]
    noise = np.random.default_rng(0).normal(size=same.shape).astype(np.float32)
    noisy = [distance(same + noise * level, same) for level in (0.0003, 0.003, 0.03)]
    print(noisy, distance(other_voice, same), distance(slt.sentences[1][0], same))
    assert 0 < noisy[0] < noisy[1] < noisy[2]
    assert 4 < distance(other_voice, same) < distance(slt.sentences[1][0], same)


def test_a_slower_recording_is_near_all_the_same(rms):
    """Frames are taken twice; warping must undo it."""
    samples, _ = rms.sentences[2]
    doubled = np.concatenate([np.tile(samples[start : start + 1600], 2) for start in range(0, len(samples), 1600)])
    assert distance(doubled, samples) < 0.5 * distance(rms.sentences[0][0], samples)


def test_warping_equals_the_plain_recurrence():
    generator = np.random.default_rng(4)
    for rows, columns in ((1, 1), (1, 6), (7, 1), (9, 13), (20, 8)):
        costs = generator.random((rows, columns))
        best = np.full((rows, columns), np.inf)
        best[0, 0] = 2 * costs[0, 0]
        for i in range(rows):
            for j in range(columns):
                steps = [best[i, j]]
                if i:
                    steps.append(best[i - 1, j] + costs[i, j])
                if j:
                    steps.append(best[i, j - 1] + costs[i, j])
                if i and j:
                    steps.append(best[i - 1, j - 1] + 2 * costs[i, j])
                best[i, j] = min(steps)
        assert warped(costs) == pytest.approx(best[-1, -1] / (rows + columns))


def test_ratios_are_of_speech_not_of_silence(rms):
    samples, rate = rms.sentences[0]
    silence = np.zeros(rate, np.float32)
    found = likeness(np.concatenate([silence, samples, silence]), rate, samples, rate)
    assert found is not None
    assert found.length_ratio == pytest.approx(1, abs=0.01)
    assert found.pitch_ratio == pytest.approx(1, abs=0.01)
    assert found.length_is_sane


@pytest.mark.parametrize(("part", "sane"), [(0.5, False), (0.9, True), (2.0, False)])
def test_what_is_cut_off_or_runs_on_is_seen(rms, part, sane):
    samples, rate = rms.sentences[0]
    changed = np.tile(samples, 2)[: int(part * len(samples))]
    found = likeness(changed, rate, samples, rate)
    assert found is not None
    print(found)
    assert found.length_is_sane is sane


def test_silence_is_like_nothing(rms):
    samples, rate = rms.sentences[0]
    assert likeness(np.zeros_like(samples), rate, samples, rate) is None
