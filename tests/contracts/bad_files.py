"""Files that a user could hand over by mistake, written into one folder next to good ones; all names are relative."""

import io
import json
import os
import pickle
import shutil
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
import yaml
from small_voice import write_table

from autotune import profile as profiles
from autotune.fingerprint import fingerprint
from autotune.machine import Cpu, Device, Machine, Memory, Software
from autotune.profile import Match, Profile, Provenance, profile_id
from sovits_rt.checkpoints.shape import preview
from sovits_rt.scenarios import DEFAULT_SCENARIO
from sovits_rt.tuning import subject_name

REPOSITORY = Path(__file__).resolve().parent.parent.parent

# Cases run on this machine whatever the real one is, so that their messages are the same everywhere.
HERE = Machine(
    cpu=Cpu("intel", "", "6.143", "x86_64", ("avx2", "avx512f"), 4, 2, affinity=(0, 1, 2, 3)),
    memory=Memory(16 * 2**30, 8 * 2**30),
    devices=(Device("cpu", 0, "cpu", 16 * 2**30, "x86_64"),),
    software=Software("3.11.9", "linux", "6.1", {"torch": "2.13.0"}),
    absent={"cuda": "no NVIDIA driver was found", "rocm": "no AMD GPU was found", "mps": "this is not macOS"},
)


class RunsCode:
    """Unpickling this would run a command."""

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.system, ("touch executed",)


def write_all(folder: Path) -> None:
    """Every bad file that the cases name. folder: holds the good ones already (gpt.ckpt, sovits.pth, bert, …)."""
    write_downloads(folder)
    write_checkpoints(folder)
    write_model_folders(folder)
    write_texts(folder)
    write_recordings(folder)
    write_profiles(folder)
    write_voices(folder)


def write_downloads(folder: Path) -> None:
    good = (folder / "gpt.ckpt").read_bytes()
    (folder / "empty.ckpt").write_bytes(b"")
    (folder / "truncated.ckpt").write_bytes(good[: len(good) // 2])
    (folder / "garbage.ckpt").write_bytes(bytes(range(1, 255)) * 4)
    (folder / "page.ckpt").write_text("<!DOCTYPE html><html><body>404</body></html>")
    (folder / "pointer.ckpt").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    header = json.dumps({"x": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
    (folder / "gpt.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + b"\0\0\0\0")
    for name in ("folder", "folder.wav", "locked"):
        (folder / name).mkdir()


def write_checkpoints(folder: Path) -> None:
    (folder / "malicious.ckpt").write_bytes(as_checkpoint(pickle.dumps(RunsCode(), protocol=2)))
    acoustic = (folder / "sovits.pth").read_bytes()
    (folder / "v3.pth").write_bytes(saved({"weight": {"cfm.estimator.x": torch.zeros(1)}, "config": {}}, b"02"))
    (folder / "lora.pth").write_bytes(saved({"weight": {"a.lora_A.b": torch.zeros(1)}, "config": {}}, b"03"))
    (folder / "odd_header.pth").write_bytes(b"09" + acoustic[2:])
    (folder / "training.pth").write_bytes(saved({"model": {}, "optimizer": {}}))
    (folder / "notes.pth").write_bytes(saved({"epochs": 12}))


def saved(content: object, header: bytes = b"") -> bytes:
    """What torch.save writes, with upstream's version digits over its first bytes."""
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return header + buffer.getvalue()[len(header) :]


def as_checkpoint(pickled: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("archive/data.pkl", pickled)
    return buffer.getvalue()


def write_model_folders(folder: Path) -> None:
    small = folder / "voices" / "small"
    (folder / "hubert_small").symlink_to(small / "hubert")
    config = json.loads((small / "hubert" / "config.json").read_text())
    (folder / "hubert_heads").mkdir()
    (folder / "hubert_heads" / "config.json").write_text(json.dumps({**config, "num_attention_heads": 3}))
    content = torch.load(small / "sovits.pth", weights_only=True)
    content["config"]["data"]["sampling_rate"] = 22_050
    (folder / "odd_rates.pth").write_bytes(saved(content))
    (folder / "config_only").mkdir()
    (folder / "config_only" / "config.json").write_bytes((folder / "hubert" / "config.json").read_bytes())
    for name, config in (("bad_json", "{"), ("gpt2", '{"model_type": "gpt2"}')):
        (folder / name).mkdir()
        (folder / name / "config.json").write_text(config)
    (folder / "hubert_cut").mkdir()
    for file in (folder / "hubert").iterdir():
        content = file.read_bytes()
        (folder / "hubert_cut" / file.name).write_bytes(content if file.suffix == ".json" else content[:1000])
    (folder / "not.yaml").write_text("custom: [", encoding="utf-8")
    (folder / "no_section.yaml").write_text("v2:\n  device: cpu\n", encoding="utf-8")
    gone = {"t2s_weights_path": "gone/gpt.ckpt", "vits_weights_path": "sovits.pth"}
    folders = {"cnhuhbert_base_path": "hubert", "bert_base_path": "bert"}
    (folder / "gone_model.yaml").write_text(yaml.safe_dump({"custom": gone | folders}), encoding="utf-8")


def write_texts(folder: Path) -> None:
    (folder / "gbk.txt").write_bytes("今天天气真不错。".encode("gbk"))
    (folder / "empty.txt").write_text("")
    (folder / "digits.txt").write_text("There were 7 boats.\n")
    (folder / "chinese.txt").write_text("今天天气真不错。\n", encoding="utf-8")
    (folder / "list.yaml").write_text("- 重庆\n")
    (folder / "broken.yaml").write_text("重庆: [chong2\n", encoding="utf-8")
    (folder / "symbol.yaml").write_text("'…': chong2\n", encoding="utf-8")
    (folder / "pinyin.yaml").write_text("重庆: chong9 qing4\n", encoding="utf-8")
    (folder / "short.yaml").write_text("重庆: chong2\n", encoding="utf-8")
    (folder / "arpabet.yaml").write_text("word: QQ1\n", encoding="utf-8")
    (folder / "number.yaml").write_text("5: wu3\n", encoding="utf-8")


def write_recordings(folder: Path) -> None:
    rate = 16_000
    noise = np.random.default_rng(0).normal(scale=0.1, size=15 * rate).astype(np.float32)
    for name, samples in (
        ("none.wav", noise[:0]),
        ("one_second.wav", noise[:rate]),
        ("fifteen_seconds.wav", noise),
        ("blip.wav", noise[:800]),
        ("silent.wav", np.zeros(5 * rate, np.float32)),
        ("nan.wav", np.where(np.arange(5 * rate) == rate, np.float32("nan"), noise[: 5 * rate])),
    ):
        soundfile.write(folder / name, samples, rate, subtype="FLOAT")
    soundfile.write(folder / "slow.wav", noise, 100)
    soundfile.write(folder / "odd_rate.wav", np.resize(noise, 5 * 191_999), 191_999)
    (folder / "empty.wav").write_bytes(b"")
    (folder / "text.wav").write_text("This is not a recording.\n")
    (folder / "cut.wav").write_bytes((folder / "reference.wav").read_bytes()[:20])


def write_voices(folder: Path) -> None:
    """Folders of bundled voices, each with something wrong; "voices" is the good one."""
    good = folder / "voices" / "small"
    content = torch.load(good / "sovits.pth", weights_only=True)
    for name, changed in (
        ("unknown_key", {"license": "MIT"}),
        ("newer", {"schema": 2}),
        ("no_default", {"default": "en-third"}),
        ("unknown_language", {"language": "tlh"}),
        ("bad_sampling", {"sampling": {"top_k": 0}}),
        ("missing_file", {"models": {"gpt": "t2s.ckpt", "sovits": "gone.pth"}}),
    ):
        write_table(copied(good, folder / name), **changed)
    for name, file, wrong in (
        ("damaged_voice", "second.voice", (good / "second.voice").read_bytes()[:-1]),
        ("damaged_model", "t2s.ckpt", (good / "t2s.ckpt").read_bytes()[:5000]),
        ("foreign_voice", "sovits.pth", saved({**content, "info": "another"})),
        ("not_yaml", "voices.yaml", b"schema: ["),
        ("a_list", "voices.yaml", b"- 1\n"),
    ):
        (copied(good, folder / name) / file).write_bytes(wrong)
    other = copied(good, folder / "other_hubert") / "hubert"
    shutil.rmtree(other)
    other.symlink_to(folder / "hubert")
    for name in ("first", "second"):
        shutil.copytree(good, folder / "twins" / name)


def copied(good: Path, folder: Path) -> Path:
    return shutil.copytree(good, folder / "small")


def profile(subject: str, **changes: Any) -> Profile:
    """A profile for HERE. changes: of its fields."""
    facts = fingerprint(HERE)
    parts: dict[str, Any] = {
        "id": profile_id(facts, subject, DEFAULT_SCENARIO),
        "subject": subject,
        "scenario": DEFAULT_SCENARIO,
        "status": "candidate",
        "match": Match.of(facts),
        "settings": {"semantic": {"slots": 8}},
        "provenance": Provenance("sovits-rt", "0.1.0"),
    }
    return Profile(**{**parts, **changes})


def write_profiles(folder: Path) -> None:
    plain = profiles.to_dict(profile(subject_name(preview(folder / "gpt.ckpt", folder / "sovits.pth").shape)))
    contents = {
        "future": {**plain, "schema": 99},
        "unknown_key": {**plain, "colour": "blue"},
        "unknown_knob": {**plain, "settings": {"semantic": {"slot": 8}}},
        "not_allowed": {**plain, "settings": {"semantic": {"slots": 5}}},
        "other_device": {**plain, "settings": {"process": {"device": "cuda"}}},
        "hostile": {**plain, "environment": {"LD_PRELOAD": "evil.so"}},
        "rejected": {**plain, "status": "rejected"},
        "no_evidence": {**plain, "status": "verified"},
        "good": plain,
        "defaults": {**plain, "settings": {}},
        "compiled": {**plain, "settings": {"semantic": {"backend": "compiled"}}},
        "traversal": {**plain, "id": "../../.bashrc"},
        "variable": {**plain, "environment": {"OMP_PLACES": "cores"}},
        "private": {**plain, "provenance": {**plain["provenance"], "note": "see /home/alice/notes"}},
        "huge": {**plain, "provenance": {**plain["provenance"], "note": "x" * 300_000}},
    }
    for name, content in contents.items():
        (folder / f"{name}.profile.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    good = yaml.safe_dump(plain, explicit_start=True, explicit_end=True)
    (folder / "cut_off.profile.yaml").write_text(good[: good.rindex("subject:")], encoding="utf-8")
    bomb = "".join(f"x{n}: &x{n} [{', '.join([f'*x{n - 1}'] * 9) if n else 'lol'}]\n" for n in range(12))
    (folder / "bomb.profile.yaml").write_text(f"{bomb}{yaml.safe_dump(plain)}", encoding="utf-8")
    tagged = good.replace("status: candidate", "status: !!python/object/apply:os.system ['touch executed']")
    (folder / "tag.profile.yaml").write_text(tagged, encoding="utf-8")
    (folder / "damaged.profile.yaml").write_text("schema: 1\nid: [", encoding="utf-8")
    (folder / "list.profile.yaml").write_text("- 1\n", encoding="utf-8")
