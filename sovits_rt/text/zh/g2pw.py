"""g2pW: a network that chooses how a polyphonic character is read from the sentence around it.

Follows GPT_SoVITS/text/g2pw (onnx_api.py, dataset.py) for text that is normalised: Chinese characters and punctuation,
so that every character is one token. The model folder's config.py is read as constants and never executed.
"""

import ast
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sovits_rt.errors import CheckpointError, TextError
from sovits_rt.text.zh.extras import load_optional
from sovits_rt.text.zh.readings import phrase_pinyin
from sovits_rt.text.zh.tables import tables

MAX_CHARACTERS = 510  # of one part of a sentence: BERT's 512 positions without [CLS] and [SEP]

_CONTEXT_CHARACTERS = 16  # on both sides of the polyphonic characters
_READ_WITHOUT_MODEL = frozenset("一不和咋嗲剖差攢倒難奔勁拗肖瘙誒泊听噢")
_READ_BY_PYPINYIN = frozenset("似攢")

Inputs = dict[str, NDArray[Any]]


class Query(NamedTuple):
    text: str  # the cropped part, in traditional characters
    position: int  # of the asked character in it


@dataclass(frozen=True, slots=True)
class ReadingTables:
    """What the files of a model folder say."""

    labels: tuple[str, ...]  # what the network chooses from: bopomofo with tone digit, or "character bopomofo"
    character_ids: Mapping[str, int]
    masks: Mapping[str, NDArray[np.float32]]  # character -> [labels], 1 where the label is a reading of it
    single_readings: Mapping[str, str]  # characters with one reading -> bopomofo with tone digit
    pinyin: Mapping[str, str]  # bopomofo without tone -> pinyin


@dataclass(frozen=True, slots=True)
class G2pW:
    """A polyphone model (see polyphones.py). `run` maps the inputs to probabilities [queries, labels]."""

    readings: ReadingTables
    vocabulary: Mapping[str, int]
    to_traditional: Callable[[str], str]
    run: Callable[[Inputs], NDArray[np.float32]]

    def pinyin(self, parts: Sequence[str]) -> list[list[str]]:
        """Pinyin with tone digit per character of each part.

        Raises TextError for a part that is too long, CheckpointError for a reading that the folder can't spell.
        """
        read: list[list[str]] = []
        queries: list[Query] = []
        targets: list[tuple[int, int]] = []
        for number, part in enumerate(parts):
            traditional = self.to_traditional(part)
            if len(part) > MAX_CHARACTERS:
                raise TextError(f"The part {part[:20]!r} of {len(part)} characters is too long; put a mark into it.")
            if len(traditional) != len(part):
                raise TextError(f"{part[:20]!r} has another length in traditional characters; speak it without g2pW.")
            read.append(self._read_without_model(traditional))
            asked = [i for i, char in enumerate(traditional) if self._is_polyphonic(char)]
            queries += crop(traditional, asked)
            targets += [(number, i) for i in asked]
        for (number, i), bopomofo in zip(targets, self._choose(queries), strict=True):
            read[number][i] = self._spell(bopomofo)
        return read

    def _is_polyphonic(self, char: str) -> bool:
        return char in self.readings.character_ids and char not in _READ_WITHOUT_MODEL

    def _read_without_model(self, traditional: str) -> list[str]:
        names = phrase_pinyin(traditional.translate(tables().simplify))
        single = self.readings.single_readings
        return [
            self._spell(single[char]) if char in single and not self._is_polyphonic(char) else name
            for char, name in zip(traditional, names, strict=True)
        ]

    def _choose(self, queries: Sequence[Query]) -> list[str]:
        """The most probable label of each query, as bopomofo with tone digit."""
        chosen = [""] * len(queries)
        inputs = build_inputs(queries, self.readings, self.vocabulary) if queries else {}
        for rows, batch in batches(queries, inputs):
            for row, label in zip(rows, self.run(batch).argmax(axis=1), strict=True):
                chosen[row] = self.readings.labels[label].rpartition(" ")[2]
        return chosen

    def _spell(self, bopomofo: str) -> str:
        sound, tone = bopomofo[:-1], bopomofo[-1:]
        if sound not in self.readings.pinyin:
            raise CheckpointError(
                f"g2pW's folder has no pinyin for the reading {bopomofo!r}; download its files again."
            )
        return self.readings.pinyin[sound] + tone


def crop(text: str, asked: Sequence[int]) -> list[Query]:
    """One query per asked position; the text is cut to the context of all of them."""
    if not asked:
        return []
    start = max(0, asked[0] - _CONTEXT_CHARACTERS)
    context = text[start : asked[-1] + _CONTEXT_CHARACTERS + 1]
    return [Query(context, i - start) for i in asked]


def build_inputs(queries: Sequence[Query], readings: ReadingTables, vocabulary: Mapping[str, int]) -> Inputs:
    """The network's inputs, one row per query.

    input_ids, token_type_ids, attention_mask: int64 [queries, longest text + 2]; phoneme_mask: float32
    [queries, labels]; char_ids, position_ids: int64 [queries].
    """
    width = max(len(query.text) for query in queries) + 2
    ids = np.zeros((len(queries), width), np.int64)
    attention = np.zeros_like(ids)
    unknown = vocabulary["[UNK]"]
    for row, (text, _) in enumerate(queries):
        tokens = [vocabulary["[CLS]"], *(vocabulary.get(char, unknown) for char in text), vocabulary["[SEP]"]]
        ids[row, : len(tokens)] = tokens
        attention[row, : len(tokens)] = 1
    asked = [text[position] for text, position in queries]
    return {
        "input_ids": ids,
        "token_type_ids": np.zeros_like(ids),
        "attention_mask": attention,
        "phoneme_mask": np.stack([readings.masks[char] for char in asked]),
        "char_ids": np.array([readings.character_ids[char] for char in asked], np.int64),
        "position_ids": np.array([position + 1 for _, position in queries], np.int64),  # [CLS] comes first
    }


def batches(queries: Sequence[Query], inputs: Inputs) -> list[tuple[list[int], Inputs]]:
    """Rows that are run together: queries about one text share one row of token ids; if no text repeats, all rows."""
    rows_of: dict[str, list[int]] = {}
    for row, query in enumerate(queries):
        rows_of.setdefault(query.text, []).append(row)
    if len(rows_of) == len(queries):
        return [(list(range(len(queries))), inputs)] if queries else []
    shared = ("input_ids", "token_type_ids", "attention_mask")
    return [
        (rows, {name: value[rows[:1] if name in shared else rows] for name, value in inputs.items()})
        for rows in rows_of.values()
    ]


def load_g2pw(folder: Path, tokenizer_folder: Path, threads: int = 2) -> G2pW:
    """Load the model on the CPU.

    Args:
        folder: holds g2pW.onnx, POLYPHONIC_CHARS.txt, MONOPHONIC_CHARS.txt, bopomofo_to_pinyin_wo_tune_dict.json and,
            where it differs from the published model, config.py.
        tokenizer_folder: the BERT folder (chinese-roberta-wwm-ext-large) with tokenizer.json or vocab.txt.
        threads: of ONNX Runtime for this network.

    Raises:
        CheckpointError: a file is missing or damaged.
        MissingExtraError: opencc is not installed.
    """
    to_traditional: Callable[[str], str] = load_optional("opencc", extra="g2pw").OpenCC("s2tw").convert
    readings, vocabulary = load_tables(folder), load_vocabulary(tokenizer_folder)
    return G2pW(readings, vocabulary, to_traditional, _open_network(folder, threads))


def load_tables(folder: Path) -> ReadingTables:
    """Read the files of a model folder but for the network. Raises CheckpointError."""
    options = {"use_mask": True, "use_char_phoneme": False} | _constants(folder / "config.py")
    pairs = _pairs(folder / "POLYPHONIC_CHARS.txt")
    label_of = {(char, sound): f"{char} {sound}" if options["use_char_phoneme"] else sound for char, sound in pairs}
    labels = tuple(sorted(set(label_of.values())))
    number = {label: i for i, label in enumerate(labels)}
    characters = sorted({char for char, _ in pairs})
    masks = {char: np.full(len(labels), not options["use_mask"], np.float32) for char in characters}
    for (char, _), label in label_of.items():
        masks[char][number[label]] = 1
    pinyin: dict[str, str] = _json(folder / "bopomofo_to_pinyin_wo_tune_dict.json")
    single = {char: sound for char, sound in _pairs(folder / "MONOPHONIC_CHARS.txt") if char not in _READ_BY_PYPINYIN}
    return ReadingTables(labels, {char: i for i, char in enumerate(characters)}, masks, single, pinyin)


def load_vocabulary(folder: Path) -> dict[str, int]:
    """Token -> id of a BERT tokenizer. Raises CheckpointError."""
    if (folder / "tokenizer.json").is_file():
        vocabulary: dict[str, int] = _json(folder / "tokenizer.json")["model"]["vocab"]
        return vocabulary
    return {token: i for i, token in enumerate(_text(folder / "vocab.txt").splitlines())}


def _open_network(folder: Path, threads: int) -> Callable[[Inputs], NDArray[np.float32]]:
    import onnxruntime
    from onnxruntime.capi import onnxruntime_pybind11_state as failures

    file = next((folder / name for name in ("g2pW.onnx", "g2pw.onnx") if (folder / name).is_file()), None)
    if file is None:
        raise CheckpointError(f"The g2pW folder {str(folder)!r} has no g2pW.onnx; download it into the folder.")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    except (failures.Fail, failures.InvalidProtobuf, failures.InvalidGraph, failures.InvalidArgument) as error:
        raise CheckpointError(f"{str(file)!r} is not an ONNX model that can be run; download it again.") from error

    def run(inputs: Inputs) -> NDArray[np.float32]:
        probabilities: NDArray[np.float32] = session.run(None, inputs)[0]
        return probabilities

    return run


def _constants(config: Path) -> dict[str, bool]:
    """True and False assigned at the top of a Python file, which may be absent; nothing of it is executed."""
    if not config.is_file():
        return {}
    try:
        body = ast.parse(_text(config)).body
    except SyntaxError as error:
        raise CheckpointError(f"g2pW's {str(config)!r} is not a Python file; download it again.") from error
    found: dict[str, bool] = {}
    for node in body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, bool):
            found |= {target.id: node.value.value for target in node.targets if isinstance(target, ast.Name)}
    return found


def _pairs(file: Path) -> list[tuple[str, str]]:
    pairs = [tuple(line.split("\t")) for line in _text(file).strip().split("\n")]
    if any(len(pair) != 2 for pair in pairs):
        raise CheckpointError(
            f"{str(file)!r} must hold a character, a tab and a reading on every line; download it again."
        )
    return [(pair[0], pair[1]) for pair in pairs]


def _json(file: Path) -> Any:
    try:
        return json.loads(_text(file))
    except json.JSONDecodeError as error:
        raise CheckpointError(f"{str(file)!r} is not JSON; download it again.") from error


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except OSError as error:
        raise CheckpointError(
            f"g2pW's file {str(file)!r} can't be read ({error.strerror}); check the folder, or download it again."
        ) from error
    except UnicodeDecodeError as error:
        raise CheckpointError(f"g2pW's file {str(file)!r} is not UTF-8 text; download it again.") from error
