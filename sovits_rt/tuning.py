"""What of the engine is tuned, and how a tuned profile is found: autotune's subject for speech.

The unit of work is a paragraph of short sentences that is decoded and one longer sentence that is rendered. Its phones,
prompt and voice are made from a fixed seed and the number of tokens is fixed, since speed does not depend on what is
said; quality is judged on the same networks, against the numbers they give at full precision. Settings that may change
the audio must also keep the words of a bundled voice (evaluation/listening.py), unless the tuning is brief.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from autotune import knobs
from autotune.decision import Decision, Listener, Silent
from autotune.duel import Effort, Rules
from autotune.machine import Machine
from autotune.measure import Gate
from autotune.profile import Profile
from autotune.record import profile_of
from autotune.subject import Outputs, SubjectName
from sovits_rt import __version__, process, quality
from sovits_rt.backends.compiled import Compiled
from sovits_rt.backends.cudagraph import CudaGraph
from sovits_rt.backends.eager import Eager
from sovits_rt.backends.onnxruntime import OnnxRuntime
from sovits_rt.backends.resident import Resident
from sovits_rt.checkpoints.layout import ModelPaths
from sovits_rt.evaluation.listening import WordCheck
from sovits_rt.settings import Settings, untuned

SCENARIO = "throughput"
MAX_MEMORY_SHARE = 0.6
LONGEST_SENTENCE = 2048  # positions of key/value memory that a slot may come to hold
FORCED_RUNS, FORCED_TOKENS, FORCED_STEPS = 8, 128, 64  # 512 choices each: at most 7 may differ to be sure of 97 %

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
# Where time is no matter: narrower intervals, more finalists from more starts.
FULL = Rules(
    explore=Effort(pairs=24, drop=True, settle=0.01),
    null=Effort(pairs=24, drop=False, settle=0.0),
    final=Effort(pairs=16, drop=False, settle=0.0),
    final_rounds=10,
    finalists=8,
    final_half_width=0.005,
)
BRIEF_UNDER_SECONDS = 300.0
PUBLISHED_SHAPE = "24x512-512"  # of the v2 models that upstream publishes


@dataclass(frozen=True, slots=True)
class Plan:
    """How much a tuning does. brief: a smaller piece of work. budget_seconds, trials: what it takes if nobody says."""

    rules: Rules
    brief: bool
    budget_seconds: float
    trials: int


EFFORTS: Mapping[str, Plan] = {
    "quick": Plan(QUICK, True, 90.0, 6),
    "normal": Plan(Rules(), False, 600.0, 40),
    "full": Plan(FULL, False, 3600.0, 200),
}


def effort_for(budget_seconds: float) -> str:
    """The effort that fits a budget when none is named."""
    return "quick" if budget_seconds < BRIEF_UNDER_SECONDS else "normal"


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
        backends = (settings.semantic.backend, settings.acoustic.backend)
        if self.brief and any(isinstance(each, Compiled) for each in backends):
            return "compiling takes longer than a brief tuning lasts"
        if settings.process.device != "cpu" and any(isinstance(each, OnnxRuntime) for each in backends):
            return "onnxruntime runs on the CPU only"
        if settings.process.device not in ("cuda", "rocm") and any(isinstance(each, CudaGraph) for each in backends):
            return "cudagraph runs on GPUs of NVIDIA and AMD only"
        if settings.process.device == "cpu" and any(isinstance(each, Resident) for each in backends):
            return "resident saves waiting for a GPU"
        if settings.process.device == "cpu" and "fp16" in (settings.semantic.precision, settings.acoustic.precision):
            return "fp16 is for GPUs"
        needed = slot_bytes(self.shape, settings.semantic.precision) * settings.semantic.slots
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
            settings.acoustic.pieces,
        )

    def open(self, settings: Settings, machine: Machine) -> "SpeechRunner":
        process.apply(settings.process, machine)
        process.set_threads(settings.process, machine)
        return SpeechRunner(ModelPaths(gpt=Path(self.gpt), sovits=Path(self.sovits)), settings, brief=self.brief)


def slot_bytes(shape: str, precision: str) -> int:
    """Memory of keys and values that one sentence of the greatest length takes in a decoder of this shape."""
    layers, width = (int(part) for part in shape.split("-")[0].split("x"))
    return 2 * layers * width * LONGEST_SENTENCE * (2 if precision in ("bf16", "fp16") else 4)


def subject_name(shape: str) -> str:
    return f"gpt-sovits-{shape}"


def subject_for(paths: ModelPaths, shape: str, *, brief: bool) -> SubjectName:
    gpt, sovits = paths.require("gpt", "always"), paths.require("sovits", "always")
    arguments = {"gpt": str(gpt.resolve()), "sovits": str(sovits.resolve()), "shape": shape, "brief": brief}
    return SubjectName("sovits_rt.tuning:SpeechSubject", arguments)


def seeds(machine: Machine) -> list[Settings]:
    """Settings worth trying first: more sentences at once, ONNX Runtime on a CPU, exact and with int8 weights, half
    precision where the hardware has it."""
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
    return [
        *_with_graphs([wide, half], machine),
        *_with_onnxruntime(wide, half if native_half else wide, machine),
        *([half] if native_half else []),
        wide,
        some,
        cut,
    ]


def _with_graphs(some: Sequence[Settings], machine: Machine) -> list[Settings]:
    """The decoder's steps as graphs, where the machine's first GPU has them."""
    if some[0].process.device not in ("cuda", "rocm") or CudaGraph.unavailable(machine) is not None:
        return []
    return [
        replace(
            each,
            semantic=replace(each.semantic, backend=CudaGraph()),
            acoustic=replace(each.acoustic, backend=CudaGraph(), window=100, pieces=4),
        )
        for each in some
    ]


def _with_onnxruntime(exact: Settings, lossy: Settings, machine: Machine) -> list[Settings]:
    if machine.accelerators or OnnxRuntime.unavailable(machine) is not None:
        return []
    small = OnnxRuntime(down="same", head="same")
    return [
        replace(lossy, semantic=replace(lossy.semantic, backend=small, precision="int8")),
        replace(exact, semantic=replace(exact.semantic, backend=OnnxRuntime())),
    ]


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


def exact_part(settings: Settings) -> Settings:
    """The settings with every knob that may change the audio at its default."""
    chosen, plain = knobs.flatten(settings), knobs.flatten(Settings())
    inexact = {each.path: plain[each.path] for each in knobs.walk(Settings) if not each.exact and each.path in plain}
    return knobs.unflatten(Settings, {**chosen, **inexact})


def tune(
    paths: ModelPaths,
    shape: str,
    machine: Machine,
    *,
    budget_seconds: float,
    max_trials: int,
    first: Sequence[Settings] = (),
    effort: str | None = None,
    session: Path | None = None,
    resume: bool = False,
    listener: Listener | None = None,
    seed: int = 0,
) -> tuple[Profile, Decision]:
    """Find how this machine runs the models best; the profile is not stored yet.

    first: settings to try before all others, such as those of the nearest profile. effort: one of EFFORTS, or what fits
    the budget. session, resume: as in `autotune.tuner.tune`.
    Raises what `autotune.tuner.tune` raises; Ctrl-C gives the best so far once the defaults are measured.
    """
    from autotune import tuner

    plan = EFFORTS[effort or effort_for(budget_seconds)]
    name = subject_for(paths, shape, brief=plan.brief)
    words = WordCheck.of(machine, brief=plan.brief, tell=(listener or Silent()).on_note)
    decision = tuner.tune(
        name,
        machine,
        budget_seconds=budget_seconds,
        max_trials=max_trials,
        seeds=[*first, *seeds(machine)],
        session=session,
        resume=resume,
        listener=listener,
        seed=seed,
        rules=plan.rules,
        examiner=words.examiner,
    )
    decision = _noted(decision, words)
    return _profile(decision, name, machine), decision


def verify(
    paths: ModelPaths,
    shape: str,
    machine: Machine,
    settings: Settings,
    *,
    budget_seconds: float,
    listener: Listener | None = None,
    seed: int = 0,
) -> tuple[Profile, Decision]:
    """Compare settings with the defaults on these models; the profile says what was found and is not stored yet.

    Raises what `autotune.verification.verify` raises; a budget under five minutes does not try compiled code.
    """
    from autotune import verification

    plan = EFFORTS[effort_for(budget_seconds)]
    name = subject_for(paths, shape, brief=plan.brief)
    words = WordCheck.of(machine, brief=plan.brief, tell=(listener or Silent()).on_note)
    decision = verification.verify(
        name,
        machine,
        settings,
        budget_seconds=budget_seconds,
        rules=plan.rules,
        listener=listener,
        seed=seed,
        examiner=words.examiner,
    )
    decision = _noted(decision, words)
    return _profile(decision, name, machine), decision


def _noted(decision: Decision, words: WordCheck) -> Decision:
    return replace(decision, reason=words.noted(decision.reason, exact=is_exact(decision.settings)))


def _profile(decision: Decision, name: SubjectName, machine: Machine) -> Profile:
    return profile_of(
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
