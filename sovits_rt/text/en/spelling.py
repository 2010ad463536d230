"""Phones of a word that no list has, from its letters: the encoder-decoder network of g2p_en, in numpy.

Two gated recurrent units of 256 (letters in, phones out, always the likeliest phone), weights in data/en_oov.npz as
published in the PyPI package g2p_en 2.1.0 (Apache-2.0), file checkpoint20.npz.
"""

from collections.abc import Mapping
from functools import cache
from importlib.resources import as_file, files

import numpy as np

from sovits_rt.types import Floats

MAX_PHONES = 20
_LETTERS = ("<pad>", "<unk>", "</s>", *"abcdefghijklmnopqrstuvwxyz")
# fmt: off
_PHONES = (
    "<pad>", "<unk>", "<s>", "</s>", "AA0", "AA1", "AA2", "AE0", "AE1", "AE2", "AH0", "AH1", "AH2", "AO0", "AO1",
    "AO2", "AW0", "AW1", "AW2", "AY0", "AY1", "AY2", "B", "CH", "D", "DH", "EH0", "EH1", "EH2", "ER0", "ER1", "ER2",
    "EY0", "EY1", "EY2", "F", "G", "HH", "IH0", "IH1", "IH2", "IY0", "IY1", "IY2", "JH", "K", "L", "M", "N", "NG",
    "OW0", "OW1", "OW2", "OY0", "OY1", "OY2", "P", "R", "S", "SH", "T", "TH", "UH0", "UH1", "UH2", "UW", "UW0",
    "UW1", "UW2", "V", "W", "Y", "Z", "ZH",
)
# fmt: on
_START, _END = _PHONES.index("<s>"), _PHONES.index("</s>")


@cache
def _weights() -> Mapping[str, Floats]:
    with (
        as_file(files("sovits_rt.text").joinpath("data/en_oov.npz")) as path,
        np.load(path, allow_pickle=False) as arrays,
    ):
        return {name: arrays[name] for name in arrays.files}


def _step(weights: Mapping[str, Floats], part: str, given: Floats, state: Floats) -> Floats:
    """One step of a gated recurrent unit. given, state, result: [1, 256]; gates stacked as reset, update, new."""
    from_given = np.matmul(given, weights[f"{part}_w_ih"].T) + weights[f"{part}_b_ih"]
    from_state = np.matmul(state, weights[f"{part}_w_hh"].T) + weights[f"{part}_b_hh"]
    size = state.shape[1]
    gates = 1 / (1 + np.exp(-(from_given[:, : 2 * size] + from_state[:, : 2 * size])))
    reset, update = gates[:, :size], gates[:, size:]
    new = np.tanh(from_given[:, 2 * size :] + reset * from_state[:, 2 * size :])
    result: Floats = (1 - update) * new + update * state
    return result


def predict(word: str) -> list[str]:
    """At most 20 phones for a lower-case word; other characters than a-z count as unknown letters."""
    weights = _weights()
    letters = [_LETTERS.index(letter) if letter in _LETTERS else _LETTERS.index("<unk>") for letter in word]
    state: Floats = np.zeros((1, weights["enc_w_hh"].shape[1]), np.float32)
    for letter in (*letters, _LETTERS.index("</s>")):
        state = _step(weights, "enc", weights["enc_emb"][letter : letter + 1], state)
    phones: list[str] = []
    last = _START
    for _ in range(MAX_PHONES):
        state = _step(weights, "dec", weights["dec_emb"][last : last + 1], state)
        last = int((np.matmul(state, weights["fc_w"].T) + weights["fc_b"]).argmax())
        if last == _END:
            break
        phones.append(_PHONES[last])
    return phones
