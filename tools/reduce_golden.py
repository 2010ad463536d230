"""Make tests/golden from the complete golden pack.

    python tools/reduce_golden.py PACK [OUT]

PACK is the folder with cases/, refs/, text/ and recipe/ as recorded from upstream (see tests/golden/README.md). What
the default test suite needs is kept; a large array that is only compared with, never fed in, is kept as every
seventh value of its flattened form under KEY_flat7, with its shape under KEY_shape. Seven shares no factor with the
sizes of the networks, so the kept values touch every channel, every frame and every phase of the upsampling.
"""

import argparse
import json
import lzma
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

STRIDE = 7
CASES = (
    "v1_zh_greedy",
    "v1_en_greedy",
    "v2_zh_greedy",
    "v2_en_greedy",
    "v2Pro_zh_greedy",
    "v2Pro_en_greedy",
    "v2ProPlus_zh_greedy",
    "v2_multiref",
    "v2Pro_multiref",
    "v2_noprompt",
    "v2_speed07",
    "v2_speed13",
    "v2_eos",
    "v2_mixed_zh_greedy",
    "v2_mixed_auto_greedy",
    "v2_norep_greedy",
    "v2_sampled_default",
    "v2_sampled_topp",
    "v2_eos_sampled",
    "v2_short_text",
    "v2_stereo_ref",
    "v2_unk_chars",
    "v2_batch1",
    "v2_eos_batch1",
)
WHOLE_CASE = "v2_zh_greedy"  # one case keeps its waves at full length
# These also keep what a stage is fed with, so that each stage can be tested on its own.
STAGE_CASES = ("v1_zh_greedy", "v2_zh_greedy", "v2Pro_zh_greedy", "v2ProPlus_zh_greedy")
WHOLE_REF = "zh_32k"
RESULTS = re.compile(r"wav_int16|decode\d+_(wav|wav_noise|flow_noise)|enc_p\d+_(y|m|logs)|flow\d+")
STAGE_INPUTS = re.compile(r"enc_p\d+_(m|logs)|flow\d+")
LOGITS = re.compile(r"logits_step(\d+)")
# The prefill, the first step from the cache, one in the middle, and two after EOS has become possible (step 11).
LOGITS_STEPS = (0, 1, 6, 11, 12)
REF_RESULTS = ("spec", "hubert", "audio16k")

Array = NDArray[Any]


def reduced(key: str, values: Array) -> dict[str, Array]:
    return {f"{key}_flat{STRIDE}": values.reshape(-1)[::STRIDE], f"{key}_shape": np.array(values.shape, np.int32)}


def reduce_case(name: str, arrays: dict[str, Array]) -> dict[str, Array]:
    kept: dict[str, Array] = {}
    for key, values in arrays.items():
        step = LOGITS.fullmatch(key)
        if step and int(step[1]) not in LOGITS_STEPS:
            continue
        whole = name == WHOLE_CASE and "wav" in key
        stage_input = name in STAGE_CASES and STAGE_INPUTS.fullmatch(key)
        if key.endswith("_bert") and name == "v1_zh_greedy":
            continue  # equal to that of v2_zh_greedy; the note in meta says so
        if RESULTS.fullmatch(key) and not whole and not stage_input:
            kept |= reduced(key, values)
        else:
            kept[key] = values
    return kept


def reduce_ref(name: str, arrays: dict[str, Array]) -> dict[str, Array]:
    if name != WHOLE_REF:
        return arrays
    kept: dict[str, Array] = {}
    for key, values in arrays.items():
        kept |= reduced(key, values) if key in REF_RESULTS else {key: values}
    return kept


def load(path: Path) -> dict[str, Array]:
    with np.load(path) as archive:
        return {key: archive[key] for key in archive.files}


def save(path: Path, arrays: dict[str, Array]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(path, **arrays)  # type: ignore[arg-type]


def note_bert_owner(name: str, meta: dict[str, Any]) -> None:
    """Say in meta where BERT features are that this case shares with another one."""
    if name == "v1_zh_greedy":
        meta |= {"prompt_bert_from": "cases/v2_zh_greedy", "seg0_bert_from": "cases/v2_zh_greedy"}
    if name == "v2_eos_batch1":
        meta |= {f"seg{i}_bert_from": "cases/v2_batch1" for i in range(len(meta["norm_texts"]))}


def compact_rule(rule: dict[str, Any]) -> list[Any]:
    match rule["k"]:
        case "rnd":
            head = {2: "four", 8: "bell"}[rule["q"]]
            return [head, rule["m"], rule["s"], *([rule["tag"]] if "tag" in rule else [])]
        case "blk":
            assert rule["q"] == 8
            return ["rows", rule["b"]]
        case "const":
            return ["fill", rule["v"]]
        case "copy":
            return ["same", rule["of"]]
        case "calib":
            return ["stored", rule["key"]]
    raise ValueError(f"rule {rule} has no compact form")


def compact_file(entry: dict[str, Any], size: str) -> dict[str, Any]:
    return {
        "name": entry["name"],
        "size": size,
        "path": entry["path"],
        "kind": entry["kind"],
        "tag": entry["tag"],
        "header": entry.get("header") or "",
        "zip_folder": entry.get("zip_name") or "archive",
        "info": entry.get("info") or "",
        "digest": entry["digest"],
        "config": entry.get("config"),
        "companions": [source.removeprefix("aux/") for source, _ in entry.get("aux", [])],
        "tensors": [[name, shape, dtype, compact_rule(rule)] for name, shape, dtype, rule in entry["tensors"]],
    }


def write_table(recipe: Path, out: Path) -> None:
    """The checkpoint table of tools/seeded_checkpoints.py, its stored tensors and companion files."""
    files, seeds = [], set()
    for spec, size in (("small", "small"), ("full", "full"), ("sv", "full")):
        table = json.loads((recipe / f"spec_{spec}.json").read_text(encoding="utf-8"))
        seeds.add(table["seed"])
        files += [compact_file(entry, size) for entry in table["files"]]
    (seed,) = seeds
    text = json.dumps({"seed": seed, "files": files}, separators=(",", ":"))
    (out / "checkpoints.json.xz").write_bytes(lzma.compress(text.encode(), preset=9))
    save(out / "stored_tensors.npz", load(recipe / "calib_visible.npz"))
    for companion in sorted({name for entry in files for name in entry["companions"]}):
        target = out / "companions" / companion
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(recipe / "aux" / companion, target)


def main() -> None:
    parser = argparse.ArgumentParser(description="Make tests/golden from the complete golden pack.")
    parser.add_argument("pack", type=Path, metavar="PACK")
    default_out = Path(__file__).resolve().parent.parent / "tests" / "golden"
    parser.add_argument("out", type=Path, nargs="?", default=default_out, metavar="OUT")
    arguments = parser.parse_args()
    pack, out = arguments.pack, arguments.out
    out.mkdir(parents=True, exist_ok=True)
    write_table(pack / "recipe", out)
    for name in CASES:
        arrays = load(pack / "cases" / f"{name}.npz")
        meta = json.loads(str(arrays["meta"]))
        note_bert_owner(name, meta)
        kept = reduce_case(name, arrays) | {"meta": np.array(json.dumps(meta, ensure_ascii=False))}
        save(out / "cases" / f"{name}.npz", kept)
    for path in sorted((pack / "refs").glob("*.npz")):
        save(out / "refs" / path.name, reduce_ref(path.stem, load(path)))
    for path in sorted((pack / "refs").glob("*.wav")):
        shutil.copyfile(path, out / "refs" / path.name)
    (out / "text").mkdir(exist_ok=True)
    for path in sorted((pack / "text").glob("*.json")):
        (out / "text" / f"{path.name}.xz").write_bytes(lzma.compress(path.read_bytes(), preset=9))
    total = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    print(f"{out}: {total / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
