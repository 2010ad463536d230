"""Record zh_more.json.xz and g2pw/: python tests/golden/text/record_zh.py UPSTREAM_TREE TEXTS.json

Needs upstream's own packages (jieba_fast 0.53, pypinyin 0.55, cn2an, opencc, transformers, onnxruntime) and onnx.
Recorded from GPT-SoVITS commit 48b1a01. TEXTS.json is a list of texts.

zh_more.json.xz  per text: norm_text, v1 (phone ids), v2 (phone ids, absent where they equal v1), g2pW off
g2pw/            a polyphone model of upstream's input and output shapes with made-up weights, its character tables,
                 and expected.json.xz: per text the tensors that upstream feeds and the ids with g2pW on
"""

import json
import lzma
import shutil
import sys
import tempfile
import types
from pathlib import Path
from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper, save

HERE = Path(__file__).parent
BERT = HERE.parent / "companions" / "chinese-roberta-wwm-ext-large"
ROWS = 61
BOPOMOFO = {
    "ㄓㄤ": "zhang", "ㄔㄤ": "chang", "ㄒㄧㄥ": "xing", "ㄏㄤ": "hang", "ㄓㄨㄥ": "zhong", "ㄔㄨㄥ": "chong",
    "ㄌㄜ": "le", "ㄩㄝ": "yue", "ㄏㄨㄟ": "hui", "ㄎㄨㄞ": "kuai", "ㄉㄜ": "de", "ㄉㄧ": "di", "ㄉㄟ": "dei",
    "ㄓㄨㄛ": "zhuo", "ㄓㄠ": "zhao", "ㄓㄜ": "zhe", "ㄏㄨㄢ": "huan", "ㄏㄞ": "hai", "ㄌㄩ": "lv", "ㄋㄩ": "nv",
    "ㄇㄣ": "men", "ㄨㄛ": "wo", "ㄏㄨㄛ": "huo", "ㄏㄜ": "he", "ㄏㄨ": "hu", "ㄧ": "yi", "ㄕ": "shi",
}  # fmt: skip
POLYPHONIC = {
    "長": "ㄓㄤ3 ㄔㄤ2", "行": "ㄒㄧㄥ2 ㄏㄤ2", "重": "ㄓㄨㄥ4 ㄔㄨㄥ2", "樂": "ㄌㄜ4 ㄩㄝ4", "會": "ㄏㄨㄟ4 ㄎㄨㄞ4",
    "得": "ㄉㄜ2 ㄉㄟ3", "的": "ㄉㄜ5 ㄉㄧ4", "地": "ㄉㄧ4 ㄉㄜ5", "著": "ㄓㄜ5 ㄓㄠ2 ㄓㄨㄛ2", "還": "ㄏㄨㄢ2 ㄏㄞ2",
    "和": "ㄏㄜ2 ㄏㄨㄛ4 ㄏㄨ2", "了": "ㄌㄜ5", "不": "ㄏㄨ2 ㄏㄜ2",
}  # fmt: skip
MONOPHONIC = {"們": "ㄇㄣ5", "我": "ㄨㄛ3", "綠": "ㄌㄩ4", "女": "ㄋㄩ3", "似": "ㄕ4", "一": "ㄧ1"}
POLYPHONE_TEXTS = [
    "我们长大了。",
    "银行行长还得重新会计！",
    "他长得很高，长发和音乐的重点还不行。",
    "绿的女人似乎着急地跑了",
    "音乐会，音乐会，音乐会。",
    "天天" * 20 + "长" + "天地" * 14 + "人" * 30 + "行。",
    "没有。",
    "大家一起说好话",
    "那儿的花儿长不长？",
    "长…行…着急地还，曝光了湖泊和地壳-得了",
]


def write_g2pw(folder: Path) -> None:
    """Probabilities = softmax(sum of token rows + row of the position + row of the character), masked.

    Rows are looked up modulo ROWS, which keeps the file small.
    """
    folder.mkdir(exist_ok=True)
    rows = [f"{char}\t{sound}" for char, sounds in POLYPHONIC.items() for sound in sounds.split()]
    (folder / "POLYPHONIC_CHARS.txt").write_text("\n".join(rows) + "\n", encoding="utf-8")
    rows = [f"{char}\t{sound}" for char, sound in MONOPHONIC.items()]
    (folder / "MONOPHONIC_CHARS.txt").write_text("\n".join(rows) + "\n", encoding="utf-8")
    text = json.dumps(BOPOMOFO, ensure_ascii=False, indent=0)
    (folder / "bopomofo_to_pinyin_wo_tune_dict.json").write_text(text, encoding="utf-8")
    (folder / "char_bopomofo_dict.json").write_text("{}", encoding="utf-8")
    (folder / "config.py").write_text(
        "use_mask = True\nuse_char_phoneme = False\nwindow_size = None\n", encoding="utf-8"
    )
    labels = len({sound for sounds in POLYPHONIC.values() for sound in sounds.split()})
    rng = np.random.default_rng(1313)
    sizes = {"tokens": ROWS, "positions": ROWS, "characters": len(POLYPHONIC)}
    tables = {name: (rng.integers(-3, 4, (size, labels)) / 2).astype(np.float32) for name, size in sizes.items()}
    save(_network(tables), folder / "g2pW.onnx")


def _network(tables: dict[str, Any]) -> Any:
    nodes = [
        helper.make_node("Mod", ["input_ids", "rows"], ["token_numbers"]),
        helper.make_node("Mod", ["position_ids", "rows"], ["position_numbers"]),
        helper.make_node("Gather", ["tokens", "token_numbers"], ["token_rows"]),
        helper.make_node("Cast", ["attention_mask"], ["seen"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["seen", "last"], ["seen_rows"]),
        helper.make_node("Mul", ["token_rows", "seen_rows"], ["masked"]),
        helper.make_node("ReduceSum", ["masked", "middle"], ["sentence"], keepdims=0),
        helper.make_node("Gather", ["positions", "position_numbers"], ["position_rows"]),
        helper.make_node("Gather", ["characters", "char_ids"], ["character_rows"]),
        helper.make_node("Add", ["sentence", "position_rows"], ["partial"]),
        helper.make_node("Add", ["partial", "character_rows"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["free"], axis=-1),
        helper.make_node("Mul", ["free", "phoneme_mask"], ["probs"]),
    ]
    int64, float32 = TensorProto.INT64, TensorProto.FLOAT
    inputs = [
        *(
            helper.make_tensor_value_info(n, int64, ["s", "t"])
            for n in ("input_ids", "token_type_ids", "attention_mask")
        ),
        helper.make_tensor_value_info("phoneme_mask", float32, ["q", "l"]),
        *(helper.make_tensor_value_info(n, int64, ["q"]) for n in ("char_ids", "position_ids")),
    ]
    constants = [numpy_helper.from_array(value, name) for name, value in tables.items()]
    numbers = {"last": -1, "middle": 1, "rows": ROWS}
    constants += [numpy_helper.from_array(np.array([value]), name) for name, value in numbers.items()]
    outputs = [helper.make_tensor_value_info("probs", float32, ["q", "l"])]
    graph = helper.make_graph(nodes, "polyphones", inputs, outputs, constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def load_upstream(tree: Path, folder: Path, scratch: Path) -> Any:
    """Upstream's chinese2 with its polyphone model made from our folder instead of a download.

    Runs from a copy: upstream rewrites a cache beside its dictionary.
    """
    shutil.copytree(tree / "GPT_SoVITS" / "text", scratch / "text")
    sys.path.insert(0, str(scratch))
    stub = types.ModuleType("text.g2pw")
    stub.G2PWPinyin = lambda **_: None
    stub.correct_pronunciation = lambda word, pinyins: pinyins
    sys.modules["text.g2pw"] = stub
    import text.chinese2 as chinese2

    del sys.modules["text.g2pw"]
    from text.g2pw import G2PWPinyin, correct_pronunciation

    chinese2.g2pw = G2PWPinyin(model_dir=str(folder), model_source=str(BERT), v_to_u=False, neutral_tone_with_five=True)
    chinese2.correct_pronunciation = correct_pronunciation
    chinese2.print = lambda *_: None
    return chinese2


def main(tree: Path, texts: list[str], scratch: Path) -> None:
    folder = HERE / "g2pw"
    write_g2pw(folder)
    chinese2 = load_upstream(tree, folder, scratch)
    from text import cleaned_text_to_sequence
    from text.cleaner import clean_text

    fed: list[dict[str, Any]] = []
    predict = chinese2.g2pw._g2pw._predict

    def recording(model_input: dict[str, Any]) -> Any:
        fed.append({name: value.tolist() for name, value in model_input.items()})
        return predict(model_input=model_input)

    chinese2.g2pw._g2pw._predict = recording

    def ids(text: str, version: str) -> tuple[str, list[int]]:
        phones, _, norm_text = clean_text(text, "zh", version)
        return norm_text, cleaned_text_to_sequence(phones, version)

    expected = []
    for text in POLYPHONE_TEXTS:
        fed.clear()
        norm_text, on = ids(text, "v2")
        expected.append({"text": text, "norm_text": norm_text, "fed": list(fed), "ids": on})
    chinese2.is_g2pw = False
    cases = []
    for text in texts:
        (norm_text, v1), (_, v2) = ids(text, "v1"), ids(text, "v2")
        cases.append({"text": text, "norm_text": norm_text, "v1": v1} | ({"v2": v2} if v2 != v1 else {}))
    for name, content in (("zh_more.json.xz", cases), ("g2pw/expected.json.xz", expected)):
        packed = json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode("utf-8")
        (HERE / name).write_bytes(lzma.compress(packed, preset=9))


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        main(Path(sys.argv[1]), json.loads(Path(sys.argv[2]).read_text(encoding="utf-8")), Path(scratch))
