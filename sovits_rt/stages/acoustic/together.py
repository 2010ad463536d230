"""Several sentences rendered in the same runs of the generator, in pieces of one length.

A piece is `window` frames with the generator's halo on both sides. At a sentence's ends there is nothing beyond, which
is what the network's own padding says there: so the first piece begins with the sentence and the last one ends with it,
and all are equally long. Only sentences that are shorter than one piece are filled up and need a mask. What is heard
equals what rendering each sentence by itself gives.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sovits_rt.lanes import Lane, Mark, host_buffer
from sovits_rt.nn.hifigan import halo_frames
from sovits_rt.nn.sovits import FRAMES_PER_TOKEN, Sovits
from sovits_rt.stages.acoustic.vits import Utterance
from sovits_rt.types import Floats, Ints, Voice

GenerateMany = Callable[..., Tensor]
_MULTIPLE = 32  # tokens and phones are padded to one of these, so that few different shapes occur


@dataclass(frozen=True, slots=True)
class Piece:
    """Frames left … left + length of a sentence, of which start … end are kept. short: the sentence ends before."""

    sentence: int
    left: int
    start: int
    end: int
    short: bool


def pieces(frames: Sequence[int], length: int, halo: int) -> list[Piece]:
    """Of sentences of so many frames, in order; short ones last, since they take another kind of run."""
    made = [piece for sentence, count in enumerate(frames) for piece in _of_one(sentence, count, length, halo)]
    return sorted(made, key=lambda piece: piece.short)


def _of_one(sentence: int, frames: int, length: int, halo: int) -> Iterator[Piece]:
    assert length > 2 * halo
    if frames < length:
        yield Piece(sentence, 0, 0, frames, short=True)
        return
    start = 0
    while start < frames:
        left = min(max(0, start - halo), frames - length)
        end = frames if left + length == frames else left + length - halo
        yield Piece(sentence, left, start, end, short=False)
        start = end


@dataclass(frozen=True, slots=True)
class _Run:
    """waves: [n, samples] of the pieces, on the host when the mark is reached."""

    pieces: Sequence[Piece]
    waves: Tensor
    mark: Mark


class TogetherRenderer:
    """network: on its device; its generator may be in another precision than the rest. generate: network.generate as
    the backend runs it, with or without a mask. window: frames of 20 ms per piece. most: pieces per run."""

    def __init__(self, network: Sovits, generate: GenerateMany, *, window: int, most: int) -> None:
        self._network, self._generate, self._most = network, generate, most
        self._halo = halo_frames(network.config.generator)
        self._length = window + 2 * self._halo
        self._device = network.ssl_proj.weight.device
        self._dtype = network.dec.conv_pre.weight.dtype
        self._rate = network.config.generator.samples_per_frame
        self._lane = Lane(self._device)

    @torch.inference_mode()
    def render(self, utterances: Sequence[Utterance], voice: Voice) -> list[Floats]:
        """[samples] of each utterance, float32 in [-1, 1]; none may be empty."""
        with self._lane.working():
            latents = self._latents(utterances, voice)
            style = torch.from_numpy(voice.style).to(self._device, self._dtype)
        waves = [np.zeros(latent.shape[1] * self._rate, np.float32) for latent in latents]
        waiting: _Run | None = None
        for group in self._groups([latent.shape[1] for latent in latents]):
            run = self._run(group, latents, style)
            if waiting is not None:  # copied while the device does the next run
                self._keep(waiting, waves)
            waiting = run
        if waiting is not None:
            self._keep(waiting, waves)
        return waves

    def _latents(self, utterances: Sequence[Utterance], voice: Voice) -> list[Tensor]:
        """[latent, T] of each; those at the usual speed are computed together."""
        found: dict[int, Tensor] = {}
        usual = [index for index, each in enumerate(utterances) if each.speed == 1]
        groups = [usual[first : first + self._most] for first in range(0, len(usual), self._most)]
        groups += [[index] for index, each in enumerate(utterances) if each.speed != 1]
        for group in groups:
            some = [utterances[index] for index in group]
            found |= zip(group, self._latents_of(some, voice), strict=True)
        return [found[index] for index in range(len(utterances))]

    def _latents_of(self, utterances: Sequence[Utterance], voice: Voice) -> list[Tensor]:
        """Of utterances at the same speed; several only at the usual one."""
        several = len(utterances) > 1
        codes, codes_mask = self._padded([each.tokens for each in utterances], several)
        phones, phones_mask = self._padded([each.phones for each in utterances], several)
        style_text = torch.from_numpy(voice.style_text).to(self._device).expand(len(utterances), -1, -1)
        style = torch.from_numpy(voice.style).to(self._device).expand(len(utterances), -1, -1)
        mean, deviation = self._network.encode_text(
            codes, phones, style_text, utterances[0].speed, codes_mask, phones_mask
        )
        frames = [len(each.tokens) * FRAMES_PER_TOKEN for each in utterances] if several else [mean.shape[2]]
        noise = np.zeros(mean.shape, np.float32)
        scale = torch.tensor([each.noise_scale for each in utterances], device=self._device).view(-1, 1, 1)
        for row, (each, count) in enumerate(zip(utterances, frames, strict=True)):
            noise[row, :, :count] = each.noise.latent(count, mean.shape[1])
        prior = mean + torch.from_numpy(noise).to(self._device) * deviation.exp() * scale
        mask = None if codes_mask is None else codes_mask.repeat_interleave(FRAMES_PER_TOKEN, dim=2)
        latents = self._network.latent(prior, style, mask).to(self._dtype)
        return [latent[:, :count] for latent, count in zip(latents, frames, strict=True)]

    def _padded(self, rows: Sequence[Ints], several: bool) -> tuple[Tensor, Tensor | None]:
        """[B, N] and its mask [B, 1, N]; a single row as it is, without a mask."""
        if not several:
            return torch.from_numpy(rows[0]).unsqueeze(0).to(self._device), None
        longest = -(-max(len(row) for row in rows) // _MULTIPLE) * _MULTIPLE
        padded = np.zeros((len(rows), longest), np.int64)
        mask = np.zeros((len(rows), 1, longest), np.bool_)
        for index, row in enumerate(rows):
            padded[index, : len(row)], mask[index, 0, : len(row)] = row, True
        return torch.from_numpy(padded).to(self._device), torch.from_numpy(mask).to(self._device)

    def _groups(self, frames: Sequence[int]) -> Iterator[list[Piece]]:
        """Pieces that go into one run."""
        planned = pieces(frames, self._length, self._halo)
        for short in (False, True):
            alike = [piece for piece in planned if piece.short is short]
            for first in range(0, len(alike), self._most):
                yield alike[first : first + self._most]

    def _run(self, group: Sequence[Piece], latents: Sequence[Tensor], style: Tensor) -> _Run:
        rows = min(1 << (len(group) - 1).bit_length(), self._most)
        with self._lane.working():
            given = style.new_zeros(rows, latents[0].shape[0], self._length)
            for row, piece in enumerate(group):
                part = latents[piece.sentence][:, piece.left : piece.left + self._length]
                given[row, :, : part.shape[1]] = part
            mask: tuple[Tensor, ...] = ()
            if group[0].short:
                ends = torch.tensor([each.end for each in group] + [0] * (rows - len(group)), device=self._device)
                mask = ((torch.arange(self._length, device=self._device) < ends.unsqueeze(1)).unsqueeze(1),)
            made = self._generate(given, style.expand(rows, -1, -1).contiguous(), *mask)[: len(group), 0].float()
            waves = host_buffer(*made.shape, dtype=torch.float32, device=self._device)
            waves.copy_(made, non_blocking=True)
        return _Run(group, waves, self._lane.mark())

    def _keep(self, run: _Run, waves: Sequence[Floats]) -> None:
        run.mark.wait()
        for piece, wave in zip(run.pieces, run.waves.numpy(), strict=True):
            first, last = ((edge - piece.left) * self._rate for edge in (piece.start, piece.end))
            waves[piece.sentence][piece.start * self._rate : piece.end * self._rate] = wave[first:last]
