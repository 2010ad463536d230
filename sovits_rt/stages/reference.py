"""A reference recording in; prompt tokens and the style of a voice out.

Source: upstream TTS_infer_pack/TTS.py (_set_prompt_semantic, _get_ref_spec), module/models.py (SynthesizerTrn.decode).
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from sovits_rt.audio.features import fbank80, spectrogram
from sovits_rt.audio.reference import speaker_wave
from sovits_rt.nn.hubert import Hubert
from sovits_rt.nn.sovits import Sovits
from sovits_rt.nn.speaker import SpeakerNet
from sovits_rt.types import Floats, Ints


class ReferenceEncoder:
    def __init__(self, sovits: Sovits) -> None:
        self._sovits = sovits
        self._device = sovits.ssl_proj.weight.device

    @torch.inference_mode()
    def prompt_tokens(self, wave_16k: Floats, hubert: Hubert) -> Ints:
        """wave_16k: [n] mono, 16 kHz, silence appended. Returns [t], 25 tokens per second."""
        hidden = hubert(torch.from_numpy(wave_16k).unsqueeze(0).to(self._device))
        tokens: Ints = self._sovits.codes(hidden)[0].cpu().numpy()
        return tokens

    @torch.inference_mode()
    def style(self, waves_32k: Sequence[Floats], speaker: SpeakerNet | None) -> tuple[Floats, Floats]:
        """waves_32k: one [n] per reference; the styles are averaged. speaker: for versions with speaker embeddings,
        else None. Returns style [1, gin, 1], style_text [1, mixer, 1]."""
        references, speakers = [], []
        for wave in waves_32k:
            references.append(self._sovits.encode_reference(self._tensor(spectrogram(wave))))
            if speaker is not None:
                speakers.append(speaker(self._tensor(fbank80(speaker_wave(wave))[None])))
        style, style_text = self._sovits.style(torch.cat(references), torch.cat(speakers) if speakers else None)
        return style.cpu().numpy(), style_text.cpu().numpy()

    def _tensor(self, values: Floats) -> Tensor:
        return torch.from_numpy(values).to(self._device)
