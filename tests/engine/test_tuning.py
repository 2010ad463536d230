"""The subject of tuning: what it refuses, sets and tries, and one trial through autotune's own worker."""

import sys
from dataclasses import replace

import numpy as np
import pytest

from autotune import knobs
from autotune.child import Child
from autotune.errors import KnobError
from autotune.machine import Memory
from autotune.measure import Budget, Gate
from autotune.subject import checked_environment
from sovits_rt.backends.compiled import Compiled
from sovits_rt.backends.cudagraph import CudaGraph
from sovits_rt.backends.native import Native
from sovits_rt.backends.onnxruntime import OnnxRuntime
from sovits_rt.checkpoints.shape import preview
from sovits_rt.rehearsal import BRIEF, Rehearsal
from sovits_rt.settings import AcousticSettings, ProcessSettings, SemanticSettings, Settings, untuned
from sovits_rt.stages.semantic.decoder import Decoder
from sovits_rt.tuning import FORCED, FORCED_BRIEF, SpeechRunner, SpeechSubject, seeds, subject_for

PUBLISHED = "24x512-512"
RECORDED = (
    "epyc_7763_dual",
    "half_a_cpu",
    "h200_host",
    "laptop_i7_1260p",
    "mac_intel",
    "macbook_m2",
    "nothing_readable",
    "raspberry_pi_5",
    "rx_7900_xtx",
    "windows_gtx1660",
)
HALF = Settings(semantic=SemanticSettings(precision="bf16"), acoustic=AcousticSettings(precision="bf16"))


@pytest.fixture
def case(speaker):
    return speaker.pack.case("v2_zh_greedy")


@pytest.fixture
def paths(speaker, case):
    return replace(speaker.paths(case), hubert=None, bert=None)


def subject(shape=PUBLISHED, *, brief=True):
    return SpeechSubject("gpt.ckpt", "sovits.pth", shape, brief=brief)


def slots(count, **changes):
    return Settings(semantic=SemanticSettings(slots=count, **changes))


def test_only_a_long_tuning_tries_compiled_code(machine):
    compiled = Settings(acoustic=AcousticSettings(backend=Compiled()))
    assert "compiling" in (subject().reject(compiled, machine) or "")
    assert subject(brief=False).reject(compiled, machine) is None


def test_onnxruntime_is_for_the_cpu(recorded_machine):
    machine = recorded_machine("windows_gtx1660")
    on_gpu = replace(slots(4, backend=OnnxRuntime()), process=ProcessSettings(device="cuda"))
    assert "CPU" in (subject().reject(on_gpu, machine) or "")
    assert subject().reject(replace(on_gpu, process=ProcessSettings()), machine) is None
    assert not any(isinstance(each.semantic.backend, OnnxRuntime) for each in seeds(machine)), "its GPU is tried first"


def test_graphs_are_tried_on_the_gpus_that_have_them(recorded_machine):
    """With exact numbers and in half precision; not where another device was chosen."""
    for name in ("h200_host", "rx_7900_xtx"):
        machine = recorded_machine(name)
        tried = [each for each in seeds(machine) if isinstance(each.semantic.backend, CudaGraph)]
        assert {each.semantic.precision for each in tried} == {"fp32", "bf16"}
        assert all(subject().reject(each, machine) is None for each in tried)
        on_cpu = replace(tried[0], process=ProcessSettings())
        assert "cudagraph" in (subject().reject(on_cpu, machine) or "")
    for name in ("epyc_7763_dual", "macbook_m2"):
        assert not any(isinstance(each.semantic.backend, CudaGraph) for each in seeds(recorded_machine(name)))


def test_fp16_is_for_gpus(recorded_machine, machine):
    half = slots(4, precision="fp16")
    with pytest.raises(KnobError, match="fp16 is for GPUs"):
        knobs.load(Settings, knobs.dump(half), machine)
    gpu = recorded_machine("h200_host")
    on_gpu = replace(half, process=ProcessSettings(device="cuda"))
    assert knobs.load(Settings, knobs.dump(on_gpu), gpu) == on_gpu
    assert subject().reject(on_gpu, gpu) is None
    assert "fp16" in (subject().reject(half, gpu) or "")
    tried = replace(gpu, devices=tuple(replace(d, facts={**d.facts, "unreliable": "float16"}) for d in gpu.devices))
    with pytest.raises(KnobError, match="NaN or infinity in fp16"):
        knobs.load(Settings, knobs.dump(on_gpu), tried)


def test_sixty_four_slots_are_for_gpus(recorded_machine, machine):
    many = replace(slots(64), process=ProcessSettings(device="cuda"))
    assert knobs.load(Settings, knobs.dump(many), recorded_machine("h200_host")) == many
    with pytest.raises(KnobError, match="on a GPU only"):
        knobs.load(Settings, knobs.dump(slots(64)), machine)


@pytest.mark.parametrize(("compiler", "expected"), [(None, Native), ("there is no compiler", OnnxRuntime)])
def test_a_cpu_is_tried_with_whole_steps_exact_and_int8(recorded_machine, monkeypatch, compiler, expected):
    monkeypatch.setattr(Native, "unavailable", staticmethod(lambda machine: compiler))
    tried = [each.semantic for each in seeds(recorded_machine("epyc_7763_dual"))]
    whole = [each for each in tried if isinstance(each.backend, Native | OnnxRuntime)]
    assert {type(each.backend) for each in whole} == {expected}
    assert {each.precision for each in whole} == {"fp32", "int8"}


def test_slots_that_do_not_fit_into_memory_are_refused(machine):
    small = replace(machine, memory=Memory(2 << 30, 1 << 30))
    assert subject().reject(slots(4), small) is None
    reason = subject().reject(slots(32), small)
    print(reason)
    assert reason is not None
    assert "32 slots" in reason
    assert subject().reject(slots(8), small) is not None
    assert subject().reject(slots(8, precision="bf16"), small) is None
    assert subject("3x64-64").reject(slots(32), small) is None


def test_a_gpus_own_memory_counts_for_it(recorded_machine):
    machine = recorded_machine("windows_gtx1660")
    assert machine.memory.usable_bytes > machine.devices_of("cuda")[0].memory_bytes
    on_gpu, on_cpu = (replace(slots(32), process=ProcessSettings(device=device)) for device in ("cuda", "cpu"))
    assert subject().reject(on_gpu, machine) is not None
    assert subject().reject(on_cpu, machine) is None


@pytest.mark.parametrize("name", RECORDED)
def test_defaults_and_seeds_fit_every_machine(recorded_machine, name):
    machine = recorded_machine(name)
    default = subject().default(machine)
    assert default == untuned(machine)
    assert subject().reject(default, machine) is None
    tried = [default, *seeds(machine)]
    assert len(tried) == len({knobs.key(each) for each in tried})
    for settings in tried:
        assert knobs.load(Settings, knobs.dump(settings), machine) == settings
        checked_environment(subject().environment(settings, machine))


def test_the_environment_says_the_threads(machine):
    for share, threads in ((1.0, "2"), (0.5, "1"), (0.125, "1")):
        settings = Settings(process=ProcessSettings(thread_share=share))
        found = checked_environment(subject().environment(settings, machine))
        assert found["OMP_NUM_THREADS"] == found["MKL_NUM_THREADS"] == threads
    active = subject().environment(Settings(process=ProcessSettings(wait_policy="active")), machine)
    assert active["OMP_WAIT_POLICY"] == "ACTIVE"
    assert active != subject().environment(Settings(), machine)


def test_the_cost_prefers_what_is_plain():
    cheap = subject().cost(Settings())
    assert cheap < subject().cost(HALF)
    assert cheap < subject().cost(slots(16))
    assert cheap < subject().cost(Settings(process=ProcessSettings(wait_policy="active")))


def test_a_trial_through_the_worker(paths, machine, tmp_path):
    """Opened, run, saved and compared in child processes, as the tuner does it; two slots more are no fault."""
    shape = preview(paths.gpt, paths.sovits).shape
    name = subject_for(paths, shape, brief=True)
    assert name.create().name == f"gpt-sovits-{shape}"
    budget, limit, path = Budget.of(600.0), 120.0, str(tmp_path / "outputs.npz")
    settings = Settings(semantic=SemanticSettings(slots=8), acoustic=AcousticSettings(window=50))
    opening = {"path": sys.path, "subject": {"target": name.target, "arguments": name.arguments}}
    opening["machine"] = machine.to_dict()
    with (
        Child("control", tmp_path, checked_environment({"OMP_NUM_THREADS": "1"}), 300) as control,
        Child("candidate", tmp_path, checked_environment({"OMP_NUM_THREADS": "1"}), 800) as candidate,
    ):
        for child, chosen in ((control, Settings()), (candidate, settings)):
            assert child.ask("open", limit, budget, settings=knobs.dump(chosen), **opening)["units"] == 1
            assert child.ask("run", limit, budget, unit=0, passes=1)["seconds"][0] > 0
        candidate.ask("outputs", limit, budget, unit=0, path=path)
        gates = [Gate(*each) for each in control.ask("compare", limit, budget, unit=0, path=path)["gates"]]
    print("; ".join(gate.sentence for gate in gates))
    assert all(gate.passed for gate in gates)
    assert {"finite", "length", "loudness", "tokens", "wave"} == {gate.name for gate in gates}


def runner(paths, settings):
    return SpeechRunner(paths, settings, brief=True)


def test_half_precision_is_judged_by_its_distance(paths):
    """Random weights exaggerate rounding, so whether it passes is not asked; that it is measured is."""
    plain, half = runner(paths, Settings()), runner(paths, HALF)
    reference, output = plain.run(0), half.run(0)
    runs, tokens, stepped = FORCED_BRIEF
    assert output["read"].shape == (runs * (tokens - stepped), 1025)
    assert output["stepped"].shape == (runs * stepped, 1025)
    assert FORCED[0] * FORCED[2] >= 2000
    assert not bool(output["exact"])
    gates = {gate.name: gate for gate in plain.compare(0, reference, output)}
    print("; ".join(gate.sentence for gate in gates.values()))
    assert set(gates) == {"length", "loudness", "divergence", "top-1", "signal"}
    assert gates["length"].passed
    assert gates["loudness"].passed
    assert 0 < gates["divergence"].value < 0.1
    assert gates["top-1"].value > 0.8
    assert 15 < gates["signal"].value < 80


def test_a_broken_step_is_caught_in_settings_that_are_not_exact(paths, monkeypatch):
    """Tokens are not compared there, so the given tokens must go through the step that decoding uses."""
    plain = runner(paths, Settings())
    reference = plain.run(0)
    original = Decoder.__init__

    def breaking(self, network, step, **options):
        original(self, network, lambda *arguments: step(*arguments).roll(1, dims=-1), **options)

    monkeypatch.setattr(Decoder, "__init__", breaking)
    broken = runner(paths, Settings())
    output = {**broken.run(0), **broken.forced(), "exact": np.array(False)}
    failed = {gate.name for gate in plain.compare(0, reference, output) if not gate.passed}
    assert failed & {"divergence", "top-1"}


@pytest.mark.parametrize("count", [1, 4, 16])
def test_given_tokens_read_one_by_one_equal_those_read_together(paths, count):
    rehearsal = Rehearsal(paths, slots(count), BRIEF)
    together = rehearsal.forced(7, 40, 0)["read"].reshape(7, 40, -1)
    found = rehearsal.forced(7, 40, 8)
    stepped = np.concatenate([found["read"].reshape(7, -1, 1025), found["stepped"].reshape(7, -1, 1025)], axis=1)
    difference = np.abs(together - stepped).max()
    print(f"{count} slots: largest difference of logits {difference:.1e}")
    assert difference < 6e-5


def test_a_rehearsal_repeats_itself(paths):
    first, second = (runner(paths, Settings()).run(0) for _ in range(2))
    for name in first:
        np.testing.assert_array_equal(first[name], second[name])
    assert first["tokens"].shape == (BRIEF.sentences, BRIEF.tokens)
    assert first["wave"].shape == (BRIEF.sentences * BRIEF.tokens * 1280,)
