"""The networks of one pair of checkpoints, built when they are first needed.

Decoder and SoVITS are built at once, since nothing works without them. HuBERT and the speaker network serve only the
preparation of a voice and are forgotten after it, BERT serves only Chinese text and is kept.
"""

from collections.abc import Callable
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol, TypeVar

import torch
from tokenizers import Tokenizer
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from sovits_rt import checkpoints
from sovits_rt.checkpoints.layout import ModelPaths
from sovits_rt.errors import CheckpointError
from sovits_rt.limits import MAX_PHONES
from sovits_rt.nn.bert import Bert, BertConfig
from sovits_rt.nn.hubert import Hubert, HubertConfig
from sovits_rt.nn.sovits import UNUSED, Sovits, SovitsNetConfig
from sovits_rt.nn.speaker import UNUSED as UNUSED_BY_SPEAKER
from sovits_rt.nn.speaker import SpeakerConfig, SpeakerNet
from sovits_rt.nn.t2s import T2S, T2SConfig
from sovits_rt.polyphones import load_polyphones
from sovits_rt.stages.frontend import BertFeatures
from sovits_rt.text.zh.polyphones import PolyphoneModel

UPSTREAM_TOKENS_PER_SECOND = 50  # upstream counts its limit with this rate, although tokens come 25 times a second
STEP_LIMIT = 1499  # upstream's loop ends after 1500 steps and drops the last token
Network = TypeVar("Network", bound=nn.Module)
_INITIAL_VALUES = (torch.Tensor.normal_, torch.Tensor.uniform_)


class _WithoutInitialValues(TorchFunctionMode):
    """Random initial values are left out: they are overwritten at once, and on the meta device the first normal_ alone
    makes torch import its compiler and sympy, which takes longer than reading the weights."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        given = kwargs or {}
        if func in _INITIAL_VALUES or getattr(func, "__module__", "") == nn.init.__name__:
            return args[0] if args else given["tensor"]
        return func(*args, **given)


class Stored(Protocol):
    """What every kind of checkpoint has."""

    @property
    def weights(self) -> dict[str, Tensor]: ...

    @property
    def path(self) -> Path: ...


class Models:
    """Raises CheckpointError where a file is missing, damaged, of another kind, or does not go with its partner.

    decoder_format, bert_format: of their weights, which are never held in another one. max_tokens: the most that a
    sentence may have, by the checkpoint and by upstream's loop.
    """

    def __init__(
        self,
        paths: ModelPaths,
        device: torch.device,
        decoder_format: torch.dtype = torch.float32,
        bert_format: torch.dtype = torch.float32,
    ) -> None:
        self._paths = paths
        self._bert_format = bert_format
        self._device = device
        t2s = checkpoints.load_t2s(paths.require("gpt", "always"))
        # Built before the other file is read, so that memory never holds both of them beside both networks.
        self.t2s = self._build(lambda: T2S(_t2s_config(t2s), positions=MAX_PHONES).to(decoder_format), t2s)
        sovits = checkpoints.load_sovits(paths.require("sovits", "always"))
        checkpoints.check_pairing(t2s, sovits)
        self.version = sovits.version
        self.sovits_digest = sovits.digest
        self.sample_rate = sovits.config.sampling_rate
        self._ssl_dim = sovits.config.ssl_dim
        self.max_tokens = min(int(t2s.config.max_sec * UPSTREAM_TOKENS_PER_SECOND), STEP_LIMIT)
        self.sovits = self._build(lambda: Sovits(_sovits_config(sovits)), sovits, UNUSED)

    @cached_property
    def hubert(self) -> Hubert:
        stored = checkpoints.load_hubert(self._paths.require("hubert", "to read a reference recording"))
        sovits = self._paths.require("sovits", "always")
        checkpoints.require_same_features(stored.path, stored.config.hidden_size, sovits, self._ssl_dim)
        return self._build(lambda: Hubert(HubertConfig.from_huggingface(asdict(stored.config))), stored)

    @cached_property
    def speaker(self) -> SpeakerNet | None:
        """None for versions without speaker embedding."""
        if not self.version.speaker_embedding:
            return None
        stored = checkpoints.load_speaker(self._paths.require("speaker", f"by {self.version.name}"))
        return self._build(lambda: SpeakerNet(SpeakerConfig()), stored, UNUSED_BY_SPEAKER)

    @cached_property
    def bert(self) -> BertFeatures:
        stored = checkpoints.load_bert(self._paths.require("bert", "for Chinese text"))
        config = BertConfig.from_huggingface(asdict(stored.config))
        network = self._build(lambda: Bert(config).to(self._bert_format), stored)
        return BertFeatures(network, Tokenizer.from_file(str(stored.tokenizer)))

    @cached_property
    def polyphones(self) -> PolyphoneModel | None:
        """None if no folder of g2pW is known: Chinese readings then come from pypinyin."""
        return load_polyphones(self._paths)

    def forget_references(self) -> None:
        """HuBERT and the speaker network leave the memory, since a prepared voice needs neither; they can come back."""
        for name in ("hubert", "speaker"):
            vars(self).pop(name, None)

    def digest(self, part: str) -> str:
        """Of the file behind "hubert", "bert" or "speaker", by content; the network is not built."""
        path = self._paths.require(part, "to prepare a voice")
        return checkpoints.content_digest(checkpoints.weights_file(path) if path.is_dir() else path)

    def _build(self, build: Callable[[], Network], stored: Stored, unused: tuple[str, ...] = ()) -> Network:
        """unused: names that the file may have and the network has not."""
        try:
            with torch.device("meta"), _WithoutInitialValues():
                network = build()
        except ValueError as error:
            raise CheckpointError(f"{stored.path} can't be built: {error}") from error
        checkpoints.load_into(network, stored.weights, what=str(stored.path), may_ignore=unused, consume=True)
        return network.to(self._device).eval().requires_grad_(False)


def _t2s_config(stored: checkpoints.T2SCheckpoint) -> T2SConfig:
    config = stored.config
    return T2SConfig(
        width=config.hidden_dim,
        heads=config.head,
        layers=config.n_layer,
        text_vocab=config.phoneme_vocab_size,
        audio_vocab=config.vocab_size,
    )


def _sovits_config(stored: checkpoints.SovitsCheckpoint) -> SovitsNetConfig:
    return SovitsNetConfig.from_upstream(
        asdict(stored.config),
        phones=stored.weights["enc_p.text_embedding.weight"].shape[0],
        style_bins=stored.version.style_bins,
        speaker_features=SpeakerConfig().features if stored.version.speaker_embedding else 0,
    )
