"""Every network against what upstream computed, each stage fed with upstream's own inputs.

Bars are ten times what upstream differs from itself between one and two threads (tests/golden/README.md).
"""

from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from torch.nn import functional as F

from sovits_rt import checkpoints
from sovits_rt.nn import hifigan, sovits
from sovits_rt.nn.bert import Bert, BertConfig
from sovits_rt.nn.hubert import Hubert, HubertConfig
from sovits_rt.nn.quantizer import UNUSED as TRAINING_STATE
from sovits_rt.nn.sovits import Sovits, SovitsNetConfig, sample_prior
from sovits_rt.nn.speaker import UNUSED as EMBEDDING_LAYER
from sovits_rt.nn.speaker import SpeakerConfig, SpeakerNet

BARS = {
    "hubert": 5e-5,
    "bert": 1.2e-5,
    "sv_emb": 1e-5,
    "ref_enc": 7e-7,
    "ge": 7e-7,
    "ge_text": 7e-7,
    "y": 2.6e-5,
    "m": 1.7e-5,
    "logs": 1.8e-5,
    "flow": 1.9e-5,
    "flow_noise": 7.6e-5,
    "wav": 2.2e-5,
    "wav_noise": 3.2e-5,
}
# Cases that store every stage.
STAGED = ("v1_zh_greedy", "v2_zh_greedy", "v2Pro_zh_greedy", "v2ProPlus_zh_greedy")
WAVES = (
    *STAGED,
    "v2_batch1",
    "v2_eos_batch1",
    "v2_mixed_zh_greedy",
    "v2_multiref",
    "v2Pro_multiref",
    "v2_noprompt",
    "v2_short_text",
    "v2_speed07",
    "v2_speed13",
    "v2_unk_chars",
)
# Cases without a stored voice: one with the same checkpoint and references that has it.
VOICE_OF = {
    "v2_batch1": "v2_zh_greedy",
    "v2_eos_batch1": "v2_zh_greedy",
    "v2_noprompt": "v2_zh_greedy",
    "v2_short_text": "v2_zh_greedy",
    "v2_speed07": "v2_zh_greedy",
    "v2_unk_chars": "v2_zh_greedy",
}


@pytest.fixture(scope="module")
def loaded():
    """Networks by checkpoint, built once for this file."""
    return {}


@pytest.fixture(autouse=True)
def inference():
    with torch.inference_mode():
        yield


def network(golden, loaded, name) -> Sovits:
    if name not in loaded:
        stored = checkpoints.load_sovits(golden.checkpoint(name))
        loaded[name] = Sovits(
            SovitsNetConfig.from_upstream(
                asdict(stored.config),
                phones=stored.weights["enc_p.text_embedding.weight"].shape[0],
                style_bins=stored.version.style_bins,
                speaker_features=SpeakerConfig().features if stored.version.speaker_embedding else 0,
            )
        )
        checkpoints.load_into(loaded[name], stored.weights, what=name, may_ignore=sovits.UNUSED)
    return loaded[name].eval()


def tensor(array):
    return torch.from_numpy(np.asarray(array))


def within(item, key, actual, stage):
    """Compares with what is stored of `key`, prints the difference and holds it to the bar of its stage."""
    difference = item.compare(key, actual)
    print(f"{item.name} {key}: largest difference {difference:.1e}")
    assert difference <= BARS[stage], f"{item.name} {key}: {difference:.2e} exceeds {BARS[stage]:.0e}"


def spectrogram(wav: Path):
    """Linear magnitudes [1, 1025, T] of a mono 32 kHz file."""
    samples, rate = soundfile.read(wav, dtype="float32")
    assert rate == 32000
    padded = F.pad(tensor(samples)[None, None], (704, 704), mode="reflect")[0]
    spectrum = torch.stft(padded, 2048, 640, 2048, torch.hann_window(2048), center=False, return_complex=True)
    return (torch.view_as_real(spectrum).square().sum(-1) + 1e-8).sqrt()


def voice_of(golden, net, case):
    """The voice of a case and its form for the text encoder, from the stored reference encodings."""
    source = golden.case(VOICE_OF.get(case.name, case.name))
    names = [source.meta["ref"], *source.meta.get("aux", [])]
    references = torch.cat([tensor(source[f"ref_enc_{number}"]) for number in range(len(names))])
    features = torch.cat([tensor(golden.ref(name)["sv_emb"]) for name in names])
    return net.style(references, features if net.config.speaker_features else None)


def decode_inputs(case, call):
    return tensor(case[f"decode{call}_codes"])[:, 0].long(), tensor(case[f"decode{call}_text"]).long()


def test_hubert_and_codes(golden, loaded):
    stored = checkpoints.load_hubert(golden.checkpoint("hubert"))
    hubert = Hubert(HubertConfig.from_huggingface(asdict(stored.config))).eval()
    checkpoints.load_into(hubert, stored.weights, what="HuBERT")
    ref = golden.ref("zh_32k")
    features = hubert(tensor(ref["wav16k"]))
    within(ref, "hubert", features, "hubert")
    for name in ("sovits_v1", "sovits_v2"):
        assert network(golden, loaded, name).codes(features)[0].tolist() == ref["codes"].tolist()


@pytest.mark.parametrize("name", ["v2_zh_greedy", "v2_batch1"])
def test_bert(golden, name):
    stored = checkpoints.load_bert(golden.checkpoint("bert"))
    bert = Bert(BertConfig.from_huggingface(asdict(stored.config))).eval()
    checkpoints.load_into(bert, stored.weights, what="BERT")
    rows = (stored.path / "vocab.txt").read_text(encoding="utf-8").splitlines()
    vocabulary = {token: number for number, token in enumerate(rows)}
    case = golden.case(name)
    for number, text in enumerate(case.meta["norm_texts"]):
        tokens = ["[CLS]", *text, "[SEP]"]
        hidden = bert(torch.tensor([[vocabulary.get(token, vocabulary["[UNK]"]) for token in tokens]]))[0, 1:-1]
        phones = torch.tensor([1 if character in ",.!?" else 2 for character in text])
        within(case, f"seg{number}_bert", hidden.repeat_interleave(phones, dim=0).t(), "bert")


@pytest.mark.parametrize("name", STAGED)
def test_style(golden, loaded, name):
    case = golden.case(name)
    net = network(golden, loaded, case.meta["sovits"])
    within(case, "ref_enc_0", net.encode_reference(spectrogram(golden.wav("zh_32k"))), "ref_enc")
    voice, text_voice = voice_of(golden, net, case)
    within(case, "ge", voice, "ge")
    within(case, "ge_text", text_voice, "ge_text")


@pytest.mark.parametrize("name", ["v2_multiref", "v2Pro_multiref"])
def test_style_of_several_references(golden, loaded, name):
    case = golden.case(name)
    voice, text_voice = voice_of(golden, network(golden, loaded, case.meta["sovits"]), case)
    within(case, "ge", voice, "ge")
    within(case, "ge_text", text_voice, "ge_text")


def check_stages(golden, loaded, name):
    case = golden.case(name)
    net = network(golden, loaded, case.meta["sovits"])
    voice, text_voice = tensor(case["ge"]), tensor(case["ge_text"])
    codes, phones = decode_inputs(case, 0)
    semantic = net.quantizer.decode(codes).repeat_interleave(2, dim=2)
    for key, value in zip(("y", "m", "logs"), net.enc_p(semantic, phones, text_voice), strict=True):
        within(case, f"enc_p0_{key}", value, key)
    mean, deviation = tensor(case["enc_p0_m"]), tensor(case["enc_p0_logs"])
    within(case, "flow0", net.latent(mean, voice), "flow")
    within(case, "decode0_wav", net.generate(tensor(case["flow0"]), voice), "wav")
    if "decode0_noise" in case:
        latent = net.latent(sample_prior(mean, deviation, tensor(case["decode0_noise"]), 0.5), voice)
        if "decode0_flow_noise" in case:
            within(case, "decode0_flow_noise", latent, "flow_noise")
        within(case, "decode0_wav_noise", net.generate(latent, voice), "wav_noise")


@pytest.mark.parametrize("name", STAGED)
def test_stages_of_decoding(golden, loaded, name):
    check_stages(golden, loaded, name)


def check_waves(golden, loaded, name):
    case = golden.case(name)
    net = network(golden, loaded, case.meta["sovits"])
    voice, text_voice = voice_of(golden, net, case)
    speed = case.meta["request"]["speed_factor"]
    for call in range(len(case.meta["batches"])):
        mean, _ = net.encode_text(*decode_inputs(case, call), text_voice, speed)
        within(case, f"decode{call}_wav", net.generate(net.latent(mean, voice), voice), "wav")


@pytest.mark.parametrize("name", WAVES)
def test_codes_and_phones_to_wave(golden, loaded, name):
    check_waves(golden, loaded, name)


@pytest.mark.parametrize("name", ["v2_zh_greedy", "v2ProPlus_zh_greedy"])
def test_chunks_of_a_wave_equal_the_whole(golden, loaded, name):
    case = golden.case(name)
    net = network(golden, loaded, case.meta["sovits"])
    latent, voice = tensor(case["flow0"]), tensor(case["ge"])
    whole, halo, rate = net.generate(latent, voice), hifigan.halo_frames(net.config.generator), 640
    chunk = net.generate(latent[..., 30 - halo : 50 + halo], voice)[..., halo * rate : (halo + 20) * rate]
    difference = (chunk - whole[..., 30 * rate : 50 * rate]).abs().max()
    print(f"{name}: largest difference {difference:.1e}")
    assert difference < 1e-6


@pytest.mark.full
def test_speaker_features(full_golden):
    stored = checkpoints.load_speaker(full_golden.checkpoint("sv"))
    speaker = SpeakerNet(SpeakerConfig()).eval()
    checkpoints.load_into(speaker, stored.weights, what="ERes2NetV2", may_ignore=EMBEDDING_LAYER)
    ref = full_golden.ref("zh_32k")
    within(ref, "sv_emb", speaker(tensor(ref["fbank"])[None]), "sv_emb")


@pytest.mark.full
@pytest.mark.parametrize("name", ["v2_full_zh", "v2Pro_full_zh", "v2ProPlus_full_zh"])
def test_stages_at_full_size(full_golden, loaded, name):
    check_stages(full_golden, loaded, name)


@pytest.mark.full
@pytest.mark.parametrize("name", ["v2_full_zh", "v2Pro_full_zh", "v2ProPlus_full_zh"])
def test_waves_at_full_size(full_golden, loaded, name):
    check_waves(full_golden, loaded, name)


def test_only_training_state_is_ignored(golden, loaded):
    name = "sovits_v2Pro"
    names = checkpoints.load_sovits(golden.checkpoint(name)).weights.keys()
    ignored = names - network(golden, loaded, name).state_dict().keys()
    assert ignored == {f"quantizer.{key}" for key in TRAINING_STATE}
