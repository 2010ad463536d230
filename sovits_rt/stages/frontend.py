"""Sentences in, BERT features per phone out.

Source: upstream TTS_infer_pack/TextPreprocessor.py (get_bert_feature, get_bert_inf).
"""

import numpy as np
import torch
from tokenizers import Tokenizer

from sovits_rt.errors import TextError
from sovits_rt.nn.bert import Bert
from sovits_rt.nn.t2s import BERT_WIDTH
from sovits_rt.types import Floats, Segment, Sentence


class BertFeatures:
    """network: BERT cut after the layer whose output is used. tokenizer: one token per character, [CLS] and [SEP]."""

    def __init__(self, network: Bert, tokenizer: Tokenizer) -> None:
        self.network = network
        self._tokenizer = tokenizer

    @torch.inference_mode()
    def segment(self, segment: Segment) -> Floats:
        """[n_phones, 1024]: each character's vector, once per phone of it."""
        assert segment.word2ph is not None
        assert len(segment.word2ph) == len(segment.norm_text)
        ids = self._tokenizer.encode(segment.norm_text).ids
        if len(ids) != len(segment.norm_text) + 2:
            raise TextError(
                f"BERT's tokenizer made {len(ids) - 2} tokens of {len(segment.norm_text)} characters in "
                f"{segment.norm_text!r}; a character-wise vocabulary such as chinese-roberta-wwm-ext-large is needed."
            )
        longest = self.network.config.positions
        if len(ids) > longest:
            raise TextError(
                f"The sentence {segment.norm_text[:20]!r}… has {len(ids) - 2} characters, but BERT reads at most "
                f"{longest - 2}; choose a --split method that cuts it."
            )
        device = self.network.embeddings.word_embeddings.weight.device
        hidden = self.network(torch.tensor([ids], device=device))[0, 1:-1].float().cpu()
        per_phone: Floats = hidden.repeat_interleave(torch.tensor(segment.word2ph), dim=0).numpy()
        return per_phone


def features(sentence: Sentence, bert: BertFeatures | None) -> Floats:
    """[n_phones, 1024]; zeros for every segment without word2ph (all languages but Chinese)."""
    parts = [np.zeros((0, BERT_WIDTH), np.float32)]
    for segment in sentence.segments:
        if segment.word2ph is None:
            parts.append(np.zeros((len(segment.ids), BERT_WIDTH), np.float32))
        else:
            assert bert is not None
            parts.append(bert.segment(segment))
    return np.concatenate(parts)
