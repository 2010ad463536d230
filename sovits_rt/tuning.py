"""What of the engine is tuned, and how a tuned profile is found: autotune's subject for speech.

The unit of work is a paragraph of short sentences that is decoded and one longer sentence that is rendered. Its phones,
prompt and voice are made from a fixed seed and the number of tokens is fixed, since speed does not depend on what is
said; quality is judged on the same networks, against the numbers they give at full precision.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from autotune import knobs
from autotune.decision import Decision, Listener
from autotune.duel import Effort, Rules
from autotune.machine import Machine
from autotune.measure import Gate
from autotune.profile import Profile
from autotune.record import profile_of
from autotune.subject import Outputs, SubjectName
from sovits_rt import __version__, process, quality
from sovits_rt.backends.eager import Eager
from sovits_rt.checkpoints.layout import ModelPaths
from sovits_rt.settings import Settings, untuned

SCENARIO = "throughput"
MAX_MEMORY_SHARE = 0.6
LONGEST_SENTENCE = 2048  # positions of key/value memory that a slot may come to hold
FORCED_RUNS, FORCED_TOKENS, FORCED_STEPS = 2, 192, 4

# In 90 s on two cores there is time for two or three trials: no finals, and a wide margin instead of an A/A comparison.
QUICK = Rules(
    explore=Effort(pairs=10, drop=True, settle=0.025),
    null=Effort(pairs=0, drop=False, settle=0.0),
    promote_margin=0.05,
    final_rounds=0,
    least_pairs=6,
    warm_passes=1,
    steady=0.2,
)
BRIEF_UNDER_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class SpeechSubject:
    """gpt, sovits: checkpoints. shape: their sizes, as `checkpoints.shape.model_shape` says. brief: a smaller piece of
    work, for short budgets. See autotune.subject."""

    gpt: str
    sovits: str
    shape: str
    brief: bool

    @property
    def name(self) -> str:
        return subject_name(self.shape)

    @property
    def settings_type(self) -> type[Settings]:
        return Settings

    def default(self, machine: Machine) -> Settings:
        return untuned(machine)

    def reject(self, settings: Settings, machine: Machine) -> str | None:
        if self.brief and not all(isinstance(each.backend, Eager) for each in (settings.semantic, settings.acoustic)):
            return "compiling takes longer than a brief tuning lasts"
        layers, width = (int(part) for part in self.shape.split("-")[0].split("x"))
        slot_bytes = 2 * layers * width * LONGEST_SENTENCE * (2 if settings.semantic.precision == "bf16" else 4)
        needed = slot_bytes * settings.semantic.slots
        devices = machine.devices_of(settings.process.device)
        room = devices[0].memory_bytes if devices and settings.process.device != "cpu" else machine.memory.usable_bytes
        if room and needed > MAX_MEMORY_SHARE * room:  # 0: the size could not be read
            return f"{settings.semantic.slots} slots of long sentences need {needed >> 20} MiB of {room >> 20} MiB"
        return None

    def environment(self, settings: Settings, machine: Machine) -> Mapping[str, str]:
        return process.environment(settings.process, machine)

    def cost(self, settings: Settings) -> tuple[float, ...]:
        stages = (settings.semantic, settings.acoustic)
        return (
            sum(stage.precision != "fp32" for stage in stages),
            sum(not isinstance(stage.backend, Eager) for stage in stages),
            settings.process.thread_share,
            settings.process.cores != "unpinned",
            settings.process.wait_policy == "active",
            settings.semantic.slots,
            settings.acoustic.window,
        )

    def open(self, settings: Settings, machine: Machine) -> "SpeechRunner":
        process.apply(settings.process, machine)
        process.set_threads(settings.process, machine)
        return SpeechRunner(ModelPaths(gpt=Path(self.gpt), sovits=Path(self.sovits)), settings, brief=self.brief)


def subject_name(shape: str) -> str:
    return f"gpt-sovits-{shape}"


def subject_for(paths: ModelPaths, shape: str, *, brief: bool) -> SubjectName:
    gpt, sovits = paths.require("gpt", "always"), paths.require("sovits", "always")
    arguments = {"gpt": str(gpt.resolve()), "sovits": str(sovits.resolve()), "shape": shape, "brief": brief}
    return SubjectName("sovits_rt.tuning:SpeechSubject", arguments)


def seeds(machine: Machine) -> list[Settings]:
    """Settings worth trying first: more sentences at once, half precision where the hardware has it."""
    start = untuned(machine)
    wide = replace(start, semantic=replace(start.semantic, slots=16))
    half = replace(
        wide,
        semantic=replace(wide.semantic, precision="bf16"),
        acoustic=replace(wide.acoustic, precision="bf16"),
    )
    native_half = bool(machine.accelerators) or bool({"avx512_bf16", "amx_bf16", "bf16"} & set(machine.cpu.isa))
    # Not among them: threads that go on spinning. Measured on an idle machine they win, and then lose on a busy one.
    some = replace(start, semantic=replace(start.semantic, slots=8))
    cut = replace(wide, acoustic=replace(wide.acoustic, window=200))
    return [*([half] if native_half else []), wide, some, cut]


class SpeechRunner:
    """The engine under measurement. See autotune.subject.Runner."""

    units = 1

    def __init__(self, paths: ModelPaths, settings: Settings, *, brief: bool) -> None:
        from sovits_rt.rehearsal import BRIEF, FULL, Rehearsal

        self._rehearsal = Rehearsal(paths, settings, BRIEF if brief else FULL)
        forced = self._rehearsal.forced(FORCED_RUNS, FORCED_TOKENS, FORCED_STEPS)
        self._judged = {"exact": np.array(is_exact(settings)), **forced}

    def run(self, unit: int) -> Outputs:
        return {**self._rehearsal.perform(), **self._judged}

    def compare(self, unit: int, reference: Outputs, output: Outputs) -> Sequence[Gate]:
        return quality.gates(reference, output, exact=bool(output["exact"]))


def is_exact(settings: Settings) -> bool:
    """Whether every knob that may change the audio is at its default."""
    chosen, plain = knobs.flatten(settings), knobs.flatten(Settings())
    return all(chosen.get(each.path) == plain.get(each.path) for each in knobs.walk(Settings) if not each.exact)


def tune(
    paths: ModelPaths,
    shape: str,
    machine: Machine,
    *,
    budget_seconds: float,
    max_trials: int,
    first: Sequence[Settings] = (),
    storage: Path | None = None,
    listener: Listener | None = None,
    seed: int = 0,
) -> tuple[Profile, Decision]:
    """Find how this machine runs the models best; the profile is not stored yet.

    first: settings to try before all others, such as those of the nearest profile. storage: an SQLite file.
    Raises what `autotune.tuner.tune` raises; Ctrl-C gives the best so far once the defaults are measured.
    """
    from autotune import tuner

    brief = budget_seconds < BRIEF_UNDER_SECONDS
    name = subject_for(paths, shape, brief=brief)
    decision = tuner.tune(
        name,
        machine,
        budget_seconds=budget_seconds,
        max_trials=max_trials,
        seeds=[*first, *seeds(machine)],
        storage=storage,
        listener=listener,
        seed=seed,
        rules=QUICK if brief else Rules(),
    )
    profile = profile_of(
        decision,
        name.create(),
        machine,
        scenario=SCENARIO,
        objective="seconds to decode a paragraph of short sentences and to render as many tokens in one piece",
        unit="seconds, smaller is better",
        tool="sovits-rt",
        version=__version__,
        environment={},
    )
    return profile, decision
