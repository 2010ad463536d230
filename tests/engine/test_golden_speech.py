"""The whole engine against upstream: phones, features, prompt, tokens, logits, style, waves, 16-bit output."""

from dataclasses import replace

import numpy as np
import pytest
from speaking import RecordedNoise, noise_of, speak

from sovits_rt.audio.join import pcm16

BERT = 1.2e-5
LOGITS = 6e-5
STYLE = 1e-6
WAVE = 1e-4
V1_V2 = (
    "v1_en_greedy",
    "v1_zh_greedy",
    "v2_batch1",
    "v2_en_greedy",
    "v2_eos",
    "v2_eos_batch1",
    "v2_eos_sampled",
    "v2_mixed_auto_greedy",
    "v2_mixed_zh_greedy",
    "v2_multiref",
    "v2_norep_greedy",
    "v2_sampled_default",
    "v2_sampled_topp",
    "v2_short_text",
    "v2_speed07",
    "v2_speed13",
    "v2_stereo_ref",
    "v2_unk_chars",
    "v2_zh_greedy",
)
PRO = ("v2Pro_zh_greedy", "v2Pro_en_greedy", "v2Pro_multiref", "v2ProPlus_zh_greedy")
FULL = ("v2_full_zh", "v2_full_en", "v2_full_sampled", "v2Pro_full_zh", "v2ProPlus_full_zh")
WITH_LATENT_NOISE = ("v1_zh_greedy", "v2_zh_greedy", "v2_sampled_default", "v2Pro_zh_greedy", "v2ProPlus_zh_greedy")


def within(case, key, actual, bar):
    difference = case.compare(key, actual)
    print(f"{case.name} {key}: largest difference {difference:.1e}, bar {bar:.0e}")
    assert difference <= bar, f"{case.name} {key}: {difference:.2e} exceeds {bar:.0e}"


def call_of(case, segment):
    """Which of upstream's decode calls was this segment's."""
    return case.meta["batches"].index([segment])


def check_speech(speaker, name):
    case = speaker.pack.case(name)
    engine = speaker.engine(case)
    voice = speaker.voice(case)
    check_voice(case, voice)
    request = speaker.request(case, voice)
    chunks = speak(engine, request, noise_of(case))
    for index, chunk in enumerate(chunks):
        assert list(chunk.sentence.ids) == case[f"seg{index}_phones"].tolist()
        assert chunk.tokens.tolist() == case[f"seg{index}_tokens"].tolist()
        if f"seg{index}_bert" in case:
            within(case, f"seg{index}_bert", engine.features(chunk.sentence).T, BERT)
        if (key := f"decode{call_of(case, index)}_wav") in case:
            within(case, key, chunk.wave, WAVE)
    check_logits(case, engine, chunks[0], voice)
    check_integers(case, chunks)


def check_voice(case, voice):
    if case.meta["prompt_text"]:
        assert voice.prompt_phones.tolist() == case["prompt_phones"].tolist()
        assert voice.prompt_tokens.tolist() == case["prompt_semantic"].tolist()
        within(case, "prompt_bert", voice.prompt_bert.T, BERT)
    if "ge" in case:
        within(case, "ge", voice.style, STYLE)
        within(case, "ge_text", voice.style_text, STYLE)


def check_logits(case, engine, chunk, voice):
    """Of the first sentence: read at once, and one by one as in decoding. Step k comes after k tokens of ours."""
    steps = [step for step in case.steps("logits_step") if step <= len(chunk.tokens)]
    if not steps or len(case.meta["batches"]) > 1:
        return
    given, first = chunk.tokens, 1
    if voice.prompt_tokens.size:  # step 0 comes after the prompt's last token
        given, first = np.concatenate([voice.prompt_tokens[-1:], given]), 0
        voice = replace(voice, prompt_tokens=voice.prompt_tokens[:-1])
    read_together = engine.forced_logits([chunk.sentence], given[None], voice)[0]
    one_by_one = engine.forced_logits([chunk.sentence], given[None], voice, stepped=len(given) - 1)[0]
    for step in (each for each in steps if each >= first):
        for logits in (read_together, one_by_one):
            within(case, f"logits_step{step}", logits[step - first, : case[f"logits_step{step}"].shape[-1]], LOGITS)


def check_integers(case, chunks):
    """Rounding down turns a tiny difference into one step at most."""
    if "wav_int16" not in case:
        return
    assert int(case["sr"]) == chunks[0].sample_rate
    samples = np.concatenate([chunk.samples for chunk in chunks])
    within(case, "wav_int16", pcm16(samples), 1.0)


@pytest.mark.parametrize("name", V1_V2)
def test_speech_equals_upstream(speaker, name):
    check_speech(speaker, name)


@pytest.mark.parametrize("name", PRO)
def test_speech_of_the_pro_versions_equals_upstream(speaker, name):
    check_speech(speaker, name)


@pytest.mark.full
@pytest.mark.parametrize("name", FULL)
def test_speech_at_full_size_equals_upstream(full_speaker, name):
    check_speech(full_speaker, name)


@pytest.mark.full
@pytest.mark.parametrize("name", V1_V2 + PRO)
def test_speech_equals_the_complete_pack(full_speaker, name):
    check_speech(full_speaker, name)


@pytest.mark.full
@pytest.mark.parametrize("name", ["v2_batch4", "v2_eos_batch4"])
def test_tokens_equal_those_of_upstreams_batches(full_speaker, name):
    case = full_speaker.pack.case(name)
    engine, voice = full_speaker.engine(case), full_speaker.voice(case)
    chunks = speak(engine, full_speaker.request(case, voice))
    assert [chunk.tokens.tolist() for chunk in chunks] == [case[f"seg{i}_tokens"].tolist() for i in range(len(chunks))]


def check_latent_noise(speaker, name):
    case = speaker.pack.case(name)
    engine, voice = speaker.engine(case), speaker.voice(case)
    request = speaker.request(case, voice, noise_scale=0.5)
    noise = replace(noise_of(case), normal=case["decode0_noise"][0])
    (chunk,) = speak(engine, request, noise)
    within(case, "decode0_wav_noise", chunk.wave, WAVE)


@pytest.mark.parametrize("name", WITH_LATENT_NOISE)
def test_speech_with_recorded_latent_noise_equals_upstream(speaker, name):
    check_latent_noise(speaker, name)


@pytest.mark.full
@pytest.mark.parametrize("name", ["v2_full_zh", "v2Pro_full_zh"])
def test_speech_with_recorded_latent_noise_at_full_size(full_speaker, name):
    check_latent_noise(full_speaker, name)


def test_prompt_free_speech_has_upstreams_tokens_up_to_the_limit(speaker):
    """Without a prompt upstream keeps one token more than its limit; ours is the limit that was asked for."""
    case = speaker.pack.case("v2_noprompt")
    engine, voice = speaker.engine(case), speaker.voice(case)
    assert voice.prompt_tokens.size == voice.prompt_phones.size == 0
    limit = case.meta["early_stop_num"]
    expected = case["seg0_tokens"].tolist()
    assert len(expected) == limit + 1
    (chunk,) = speak(engine, speaker.request(case, voice))
    assert chunk.tokens.tolist() == expected[:limit]
    (longer,) = speak(engine, speaker.request(case, voice, max_tokens=limit + 1))
    assert longer.tokens.tolist() == expected
    within(case, "decode0_wav", longer.wave, WAVE)
    check_integers(case, [longer])
    check_logits(case, engine, longer, voice)


def test_synth_gives_what_the_parts_give(speaker):
    """The public way, in order, with greedy tokens and noise 0, so that its own noise changes nothing."""
    case = speaker.pack.case("v2_eos_batch1")
    engine, voice = speaker.engine(case), speaker.voice(case)
    chunks = list(engine.synth(speaker.request(case, voice)))
    assert [chunk.index for chunk in chunks] == list(range(7))
    for index, chunk in enumerate(chunks):
        assert chunk.tokens.tolist() == case[f"seg{index}_tokens"].tolist()
        within(case, f"decode{call_of(case, index)}_wav", chunk.wave, WAVE)
        assert len(chunk.samples) == len(chunk.wave) + int(0.3 * chunk.sample_rate)


def test_recorded_noise_is_really_used(speaker):
    """Other numbers give other tokens: the sampled cases do not pass by being greedy."""
    case = speaker.pack.case("v2_sampled_default")
    engine, voice = speaker.engine(case), speaker.voice(case)
    (chunk,) = speak(engine, speaker.request(case, voice), RecordedNoise())
    assert chunk.tokens.tolist() != case["seg0_tokens"].tolist()
