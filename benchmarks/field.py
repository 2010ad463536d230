"""Who takes part: ours with the settings that are asked for, and peers whose checkouts are given."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from autotune import knobs
from autotune.machine import Machine
from benchmarks.contestants import ROOT, Entry, commit_of, our_command, peer_command, peer_kinds
from sovits_rt import __version__, process
from sovits_rt.checkpoints.layout import ModelPaths
from sovits_rt.checkpoints.shape import preview
from sovits_rt.selection import UNTUNED, select
from sovits_rt.settings import Settings, thread_count
from sovits_rt.tuning import subject_name

PLAIN = "plain"  # defaults in fp32: the reference of every comparison
UPSTREAM = "upstream"


@dataclass(frozen=True, slots=True)
class Peer:
    """label: in tables. kind: which adapter. option: for it, such as "bf16". python: with the peer's packages."""

    label: str
    kind: str
    option: str
    checkout: Path
    python: str

    @classmethod
    def parse(cls, text: str, python: str) -> "Peer":
        """text: "KIND=PATH" or "KIND:OPTION=PATH". Raises BadParameter."""
        label, equals, path = text.partition("=")
        kind, _, option = label.partition(":")
        if not equals or not path or not kind:
            raise click.BadParameter(f"{text!r} is not NAME=PATH, such as genie=../Genie-TTS.", param_hint="--peer")
        if kind not in peer_kinds():
            known = ", ".join(peer_kinds())
            raise click.BadParameter(f"There is no adapter for {kind!r}; there are {known}.", param_hint="--peer")
        checkout = Path(path)
        if not checkout.is_dir():
            raise click.BadParameter(f"{path} is no folder; give the checkout of {kind}.", param_hint="--peer")
        return cls(label, kind, option, checkout.resolve(), python)


def parse_ours(text: str) -> tuple[str, tuple[str, ...]]:
    """ "NAME:KNOB=VALUE,KNOB=VALUE" to its name and assignments; without knobs, the profile as it is."""
    name, _, rest = text.partition(":")
    assignments = tuple(each.strip() for each in rest.split(",") if each.strip())
    if not name.strip() or name.strip() == PLAIN or any("=" not in each for each in assignments):
        raise click.BadParameter(
            f"{text!r} is not NAME:KNOB=VALUE,…, such as fast:semantic.precision=bf16,semantic.slots=16; "
            f"the name must not be {PLAIN!r}.",
            param_hint="--ours",
        )
    return name.strip(), assignments


@dataclass(frozen=True, slots=True)
class Field:
    """machine: this one. paths: the models. version: of SoVITS. cache: where peers may keep what they converted."""

    machine: Machine
    paths: ModelPaths
    version: str
    cache: Path

    @property
    def plain(self) -> Entry:
        """The reference: defaults, fp32."""
        return self.ours(PLAIN, UNTUNED, ())

    def ours(self, name: str, profile: str | None, assignments: Sequence[str]) -> Entry:
        """profile, assignments: as `sovits-rt synth` takes them. Raises SettingsError."""
        assert self.paths.gpt is not None
        assert self.paths.sovits is not None
        shape = preview(self.paths.gpt, self.paths.sovits).shape
        settings = select(self.machine, subject_name(shape), profile, assignments).settings
        prepared = {**self._models(), "settings": knobs.flatten(settings)}
        environment = process.environment(settings.process, self.machine)
        changed, own = _changed(settings), f"{__version__}, {commit_of(ROOT)}"
        return Entry(name, our_command(), environment, prepared, peer=False, commit=own, settings=changed)

    def peer(self, peer: Peer) -> Entry:
        """With as many threads as the defaults give ours, and the same habits while they wait."""
        process_settings = Settings().process
        prepared: dict[str, Any] = {
            **self._models(),
            "version": self.version,
            "threads": thread_count(self.machine, process_settings),
            "cache": str(self._cache()),
        }
        command = peer_command(peer.kind, peer.python, peer.checkout, peer.option)
        environment = process.environment(process_settings, self.machine)
        return Entry(peer.label, command, environment, prepared, peer=True, commit=commit_of(peer.checkout))

    def _models(self) -> dict[str, str]:
        parts = ("gpt", "sovits", "hubert", "bert", "speaker")
        found = {part: getattr(self.paths, part) for part in parts}
        return {part: str(path.resolve()) for part, path in found.items() if path is not None}

    def _cache(self) -> Path:
        """One folder per pair of checkpoints, told by where they are and when they were written."""
        files = [path for path in (self.paths.gpt, self.paths.sovits) if path is not None]
        told = "\n".join(f"{path.resolve()} {path.stat().st_mtime_ns}" for path in files)
        folder = self.cache / hashlib.sha256(told.encode()).hexdigest()[:16]
        folder.mkdir(parents=True, exist_ok=True)
        return folder.resolve()


def _changed(settings: Settings) -> Mapping[str, Any]:
    """What is not at its default."""
    plain = knobs.flatten(Settings())
    return {knob: value for knob, value in knobs.flatten(settings).items() if plain.get(knob) != value}
