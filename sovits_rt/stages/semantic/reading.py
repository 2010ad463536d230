"""Newcomers' text and prompts into key/value memory, several sentences at once, while others go on being decoded.

What is read lies beside the slots' memory until a slot takes it, so that nobody waits for anybody.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sovits_rt.lanes import Lane, Mark, send
from sovits_rt.nn.t2s import BERT_WIDTH, T2S
from sovits_rt.stages.semantic.decoder import DecodeJob
from sovits_rt.types import Floats, Ints

_MULTIPLE = 64  # positions are padded to one of these, so that few different shapes occur
_POSITIONS_AT_ONCE = 8192  # a first group that is small enough begins to be decoded soon


@dataclass(frozen=True, slots=True)
class Reading:
    """jobs that are being read. memory: [L, 2, n, H, P, D]. logits: [n, V] float32. done: when both are there."""

    jobs: tuple[DecodeJob, ...]
    memory: Tensor
    logits: Tensor
    done: Mark


class Reader:
    def __init__(self, network: T2S) -> None:
        self._network = network
        parameter = network.bert_proj.weight
        self._device, self._dtype = parameter.device, parameter.dtype
        self._lane = Lane(parameter.device)

    def read(self, jobs: Sequence[DecodeJob]) -> list[Reading]:
        """In groups of similar size, in the jobs' order."""
        groups: list[list[DecodeJob]] = []
        longest = 0
        for job in jobs:
            longest = max(longest, job.positions)
            if not groups or longest * (len(groups[-1]) + 1) > _POSITIONS_AT_ONCE:
                groups.append([])
                longest = job.positions
            groups[-1].append(job)
        return [self._read(group) for group in groups]

    def _read(self, jobs: list[DecodeJob]) -> Reading:
        positions = -(-max(job.positions for job in jobs) // _MULTIPLE) * _MULTIPLE
        shape = (len(jobs), positions)
        phones, tokens = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
        bert = np.zeros((*shape, BERT_WIDTH), np.float32)
        for row, job in enumerate(jobs):
            text = len(job.phones)
            phones[row, :text], bert[row, :text] = job.phones, job.bert
            tokens[row, text : job.positions] = job.prompt_tokens
        texts = np.array([len(job.phones) for job in jobs])
        lengths = np.array([job.positions for job in jobs])
        with self._lane.working():
            memory = self._network.new_memory(*shape, dtype=self._dtype, device=self._device)
            logits = self._network.prefill_many(
                self._sent(phones),
                self._sent(bert).to(self._dtype),
                self._sent(tokens),
                self._sent(texts),
                self._sent(lengths),
                memory,
            ).float()
        return Reading(tuple(jobs), memory, logits, self._lane.mark())

    def _sent(self, values: Ints | Floats) -> Tensor:
        return send(torch.from_numpy(values), self._device)
