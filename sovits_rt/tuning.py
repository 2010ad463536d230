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
from sovits_rt.backends import Backend
from sovits_rt.backends.channels_last import ChannelsLast
from sovits_rt.backends.compiled import Compiled
from sovits_rt.backends.cudagraph import CudaGraph
from sovits_rt.backends.eager import Eager
from sovits_rt.backends.native import Native
from sovits_rt.backends.onnxruntime import OnnxRuntime
from sovits_rt.backends.resident import Resident
from sovits_rt.checkpoints.layout import ModelPaths
from sovits_rt.evaluation.listening import WordCheck
from sovits_rt.scenarios import DEFAULT_SCENARIO, SCENARIOS, UNIT
from sovits_rt.settings import Settings, untuned
from sovits_rt.types import Floats

MAX_MEMORY_SHARE = 0.6
LONGEST_SENTENCE = 2048  # positions of key/value memory that a slot may come to hold
# How many sentences, of how many tokens, the last so many of which are read one by one. 2,048 such choices can show an
# agreement of 98.5 %; in a brief tuning there is time for 512, which can show 97 %.
FORCED = (8, 288, 256)
FORCED_BRIEF = (8, 128, 64)

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
    work, for short budgets. scenario: one of SCENARIOS. See autotune.subject."""

    gpt: str
    sovits: str
    shape: str
    brief: bool
    scenario: str = DEFAULT_SCENARIO

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
        on_gpu = settings.process.device in ("cuda", "rocm")
        if settings.process.device != "cpu" and any(isinstance(each, OnnxRuntime | Native) for each in backends):
            return "onnxruntime and native run on the CPU only"
        if not on_gpu and any(isinstance(each, CudaGraph) for each in backends):
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
            sum(stage.precision != "fp32" for stage in (settings.frontend, *stages)),
            sum(not isinstance(stage.backend, Eager) for stage in stages),
            settings.process.thread_share,
            settings.process.cores != "unpinned",
            settings.process.wait_policy == "active",
            settings.process.overlap != "serial",
            settings.process.allocator != "standard",
            settings.semantic.slots,
            settings.acoustic.window,
            settings.acoustic.pieces,
        )

    def open(self, settings: Settings, machine: Machine) -> "SpeechRunner":
        process.apply(settings.process, machine)
        process.set_threads(settings.process, machine)
        paths = ModelPaths(gpt=Path(self.gpt), sovits=Path(self.sovits))
        return SpeechRunner(paths, settings, brief=self.brief, scenario=self.scenario)


def slot_bytes(shape: str, precision: str) -> int:
    """Memory of keys and values that one sentence of the greatest length takes in a decoder of this shape."""
    layers, width = (int(part) for part in shape.split("-")[0].split("x"))
    return 2 * layers * width * LONGEST_SENTENCE * (2 if precision in ("bf16", "fp16") else 4)


def subject_name(shape: str) -> str:
    return f"gpt-sovits-{shape}"


def subject_for(paths: ModelPaths, shape: str, *, brief: bool, scenario: str = DEFAULT_SCENARIO) -> SubjectName:
    gpt, sovits = paths.require("gpt", "always"), paths.require("sovits", "always")
    models = {"gpt": str(gpt.resolve()), "sovits": str(sovits.resolve())}
    arguments = {**models, "shape": shape, "brief": brief, "scenario": scenario}
    return SubjectName("sovits_rt.tuning:SpeechSubject", arguments)


def seeds(machine: Machine, scenario: str = DEFAULT_SCENARIO) -> list[Settings]:
    """Settings worth trying first: the fast kernels of a CPU with int8 weights and exact, the vocoder's fast layout,
    half precision where the hardware has it, both stages side by side; more sentences at once, or fewer and short
    windows where one user waits or memory is short."""
    start = untuned(machine)
    start = replace(start, acoustic=replace(start.acoustic, backend=ChannelsLast()))
    if scenario != "throughput":
        few = [replace(start, semantic=replace(start.semantic, slots=count)) for count in (1, 2)]
        short = [replace(each, acoustic=replace(each.acoustic, window=200)) for each in few]
        return [*_with_own_kernels(few[0], few[0], machine), *few, *short]
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
    best = half if native_half else wide
    beside = replace(best, process=replace(start.process, overlap="shared"))
    return [
        *_with_graphs([wide, half], machine),
        *_with_own_kernels(wide, beside, machine),
        *([half] if native_half else []),
        wide,
        beside,
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


def _with_own_kernels(exact: Settings, lossy: Settings, machine: Machine) -> list[Settings]:
    """The decoder's steps in one call: own C++ where there is a compiler, else ONNX Runtime."""
    choices: list[tuple[Backend, Backend]] = [
        (Native(memory="bf16"), Native()),
        (OnnxRuntime(down="same", head="same"), OnnxRuntime()),
    ]
    for small, plain in choices:
        if not machine.accelerators and small.unavailable(machine) is None:
            return [
                replace(lossy, semantic=replace(lossy.semantic, backend=small, precision="int8")),
                replace(exact, semantic=replace(exact.semantic, backend=plain, precision="fp32")),
            ]
    return []


class SpeechRunner:
    """The engine under measurement. See autotune.subject.Runner."""

    def __init__(self, paths: ModelPaths, settings: Settings, *, brief: bool, scenario: str = DEFAULT_SCENARIO) -> None:
        from sovits_rt.rehearsal import BRIEF, FULL, Rehearsal

        self.rehearsal = rehearsal = Rehearsal(paths, settings, BRIEF if brief else FULL)
        one_user = (rehearsal.first_audio, rehearsal.one_sentence)
        self._work = one_user if scenario == "latency" else (rehearsal.perform,)
        self._brief, self._exact = brief, is_exact(settings)
        self._forced: Mapping[str, Floats] | None = None
        if not self._exact:
            self.forced()  # now, while no clock runs

    @property
    def units(self) -> int:
        return len(self._work)

    def run(self, unit: int) -> Outputs:
        nothing = dict.fromkeys(quality.LOGITS, np.zeros((0, 0), np.float32))
        logits = nothing if self._exact else self.forced()
        return {**self._work[unit](), "exact": np.array(self._exact), **logits}

    def compare(self, unit: int, reference: Outputs, output: Outputs) -> Sequence[Gate]:
        exact = bool(output["exact"])
        given = reference if exact else {**reference, **self.forced()}
        return quality.gates(given, output, exact=exact)

    def forced(self) -> Mapping[str, Floats]:
        """Logits on given tokens, see `Rehearsal.forced`. Only made for settings that are not exact, and for the
        defaults when such are judged, since thousands of steps take longer than the work itself."""
        if self._forced is None:
            self._forced = self.rehearsal.forced(*(FORCED_BRIEF if self._brief else FORCED))
        return self._forced


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
    scenario: str = DEFAULT_SCENARIO,
    memory_bytes: int = 0,
) -> tuple[Profile, Decision]:
    """Find how this machine runs the models best; the profile is not stored yet.

    scenario: one of SCENARIOS. memory_bytes: peak memory of the process that is allowed, 0 for no limit.
    first: settings to try before all others, such as those of the nearest profile. effort: one of EFFORTS, or what fits
    the budget. session, resume: as in `autotune.tuner.tune`.
    Raises what `autotune.tuner.tune` raises; Ctrl-C gives the best so far once the defaults are measured.
    """
    from autotune import tuner

    plan = EFFORTS[effort or effort_for(budget_seconds)]
    name = subject_for(paths, shape, brief=plan.brief, scenario=scenario)
    words = WordCheck.of(machine, brief=plan.brief, tell=(listener or Silent()).on_note)
    decision = tuner.tune(
        name,
        machine,
        budget_seconds=budget_seconds,
        max_trials=max_trials,
        seeds=[*first, *seeds(machine, scenario)],
        session=session,
        resume=resume,
        listener=listener,
        seed=seed,
        rules=replace(plan.rules, memory_limit_bytes=memory_bytes),
        examiner=words.examiner,
    )
    decision = _noted(decision, words)
    return _profile(decision, name, machine, scenario, memory_bytes), decision


def verify(
    paths: ModelPaths,
    shape: str,
    machine: Machine,
    settings: Settings,
    *,
    budget_seconds: float,
    listener: Listener | None = None,
    seed: int = 0,
    scenario: str = DEFAULT_SCENARIO,
    memory_bytes: int = 0,
) -> tuple[Profile, Decision]:
    """Compare settings with the defaults on these models; the profile says what was found and is not stored yet.

    scenario, memory_bytes: as in `tune`.
    Raises what `autotune.verification.verify` raises; a budget under five minutes does not try compiled code.
    """
    from autotune import verification

    plan = EFFORTS[effort_for(budget_seconds)]
    name = subject_for(paths, shape, brief=plan.brief, scenario=scenario)
    words = WordCheck.of(machine, brief=plan.brief, tell=(listener or Silent()).on_note)
    decision = verification.verify(
        name,
        machine,
        settings,
        budget_seconds=budget_seconds,
        rules=replace(plan.rules, memory_limit_bytes=memory_bytes),
        listener=listener,
        seed=seed,
        examiner=words.examiner,
    )
    decision = _noted(decision, words)
    return _profile(decision, name, machine, scenario, memory_bytes), decision


def _noted(decision: Decision, words: WordCheck) -> Decision:
    return replace(decision, reason=words.noted(decision.reason, exact=is_exact(decision.settings)))


def _profile(
    decision: Decision,
    name: SubjectName,
    machine: Machine,
    scenario: str = DEFAULT_SCENARIO,
    memory_bytes: int = 0,
) -> Profile:
    return profile_of(
        decision,
        name.create(),
        machine,
        scenario=scenario,
        objective=SCENARIOS[scenario].objective,
        unit=UNIT,
        tool="sovits-rt",
        version=__version__,
        environment={},
        figures={"memory_limit_bytes": float(memory_bytes)} if memory_bytes else {},
    )
