"""Knobs: strict loading, round trips, sampling, fitting to a machine."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from sample_settings import BACKENDS, Eager, Exported, Graphs, Process, Settings, Stage, machine

from autotune import knobs
from autotune.errors import KnobError, RejectedSettings
from autotune.knobs import Choice, IntRange, OneOf, knob

CPU, GPU = machine(), machine(cores=16, gpu="sm_90")
DEFAULT = knobs.default(Settings)


class Dice:
    """Suggests from a random generator; remembers what was asked, as a trial does."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.params: dict[str, Any] = {}

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        self.params[name] = self.random.choice(list(choices))
        return self.params[name]

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> int:
        self.params[name] = self.random.randrange(low, high + 1, step)
        return int(self.params[name])


def drawn(seed: int, on: Any) -> tuple[Settings, Dice]:
    """A valid suggestion; refused ones are drawn again from the same dice."""
    dice = Dice(seed)
    while True:
        try:
            return knobs.suggest(dice, Settings, on), dice
        except RejectedSettings:
            dice.params.clear()


SEEDS = st.integers(0, 2**32)
MACHINES = st.sampled_from([CPU, GPU])


@given(seed=SEEDS, on=MACHINES)
def test_every_suggestion_loads_and_survives_yaml(seed: int, on: Any) -> None:
    settings, _ = drawn(seed, on)
    text = yaml.safe_dump(knobs.dump(settings))
    assert knobs.load(Settings, yaml.safe_load(text), on) == settings


@given(seed=SEEDS, on=MACHINES)
def test_flat_form_is_what_a_trial_remembers_and_comes_back(seed: int, on: Any) -> None:
    settings, dice = drawn(seed, on)
    assert knobs.flatten(settings) == dice.params
    assert knobs.unflatten(Settings, dice.params, on) == settings


@given(one=SEEDS, other=SEEDS, on=MACHINES)
def test_key_tells_settings_apart(one: int, other: int, on: Any) -> None:
    a, b = drawn(one, on)[0], drawn(other, on)[0]
    assert (knobs.key(a) == knobs.key(b)) == (a == b)
    assert (knobs.changes(a, b) == []) == (a == b)


@given(seed=SEEDS, on=MACHINES)
def test_what_is_allowed_is_not_clamped(seed: int, on: Any) -> None:
    settings, _ = drawn(seed, on)
    assert knobs.clamp(settings, on) == (settings, [])


@given(seed=SEEDS)
def test_gpu_settings_fit_a_small_cpu_after_clamping(seed: int) -> None:
    settings, _ = drawn(seed, GPU)
    fitted, changed = knobs.clamp(settings, CPU)
    assert knobs.load(Settings, knobs.dump(fitted), CPU) == fitted
    assert (changed == []) == (fitted == settings)
    assert knobs.clamp(fitted, CPU) == (fitted, [])


@given(seed=SEEDS, on=MACHINES)
def test_set_reaches_every_value(seed: int, on: Any) -> None:
    settings, _ = drawn(seed, on)
    rebuilt = DEFAULT
    for path, value in knobs.flatten(settings).items():
        rebuilt = knobs.override(rebuilt, f"{path}={str(value).lower() if isinstance(value, bool) else value}")
    assert rebuilt == settings


@hypothesis_settings(max_examples=30)
@given(seed=SEEDS, on=MACHINES)
def test_neighbours_differ_in_one_knob_and_are_allowed(seed: int, on: Any) -> None:
    settings, _ = drawn(seed, on)
    for near in knobs.neighbours(settings, on):
        assert near != settings
        assert knobs.load(Settings, knobs.dump(near), on) == near
        changed = [line for line in knobs.changes(settings, near) if "> -" not in line and ": - " not in line]
        assert len(changed) == 1


def test_neighbours_of_the_default() -> None:
    near = [knobs.changes(DEFAULT, other)[0] for other in knobs.neighbours(DEFAULT, CPU)]
    assert "decoder.backend: eager -> exported" in near
    assert not any("graphs" in line or "fp16" in line for line in near)
    assert [line for line in near if line.startswith("decoder.slots")] == [
        "decoder.slots: 8 -> 4",
        "decoder.slots: 8 -> 16",
    ]
    assert [line for line in near if line.startswith("process.threads")] == ["process.threads: 1 -> 2"]


def test_dump_is_short_and_plain() -> None:
    settings = replace(DEFAULT, decoder=Stage(backend=Graphs(max_batch=2)))
    data = knobs.dump(settings)
    assert data["decoder"] == {"backend": {"use": "graphs", "max_batch": 2, "pool": "on"}, "dtype": "fp32", "slots": 4}
    assert data["vocoder"]["backend"] == "eager"


def test_default_uses_what_the_group_declares() -> None:
    assert DEFAULT.decoder.slots == 8
    assert DEFAULT.process == Process()


def test_later_data_goes_over_the_base() -> None:
    base = knobs.load(Settings, {"decoder": {"slots": 2, "backend": {"use": "exported", "level": 9}}})
    again = knobs.load(Settings, {"decoder": {"backend": "exported"}, "process": {"wait": "passive"}}, base=base)
    assert again.decoder == Stage(backend=Exported(level=9), slots=2)
    switched = knobs.load(Settings, {"decoder": {"backend": "eager"}}, base=base)
    assert switched.decoder.backend == Eager()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"decodr": {}}, "settings: unknown key 'decodr'; did you mean 'decoder'?"),
        ({"decoder": {"slot": 1}}, "decoder: unknown key 'slot'; did you mean 'slots'?"),
        ({"decoder": {"slots": 64}}, "decoder.slots: got 64, allowed here: 1 to 32."),
        ({"decoder": {"slots": True}}, "decoder.slots: got True, allowed here: 1 to 32."),
        ({"decoder": {"slots": None}}, "decoder.slots: got None, allowed here: 1 to 32."),
        ({"process": {"threads": 5}}, "process.threads: got 5, allowed here: 1 to 4."),
        ({"process": {"pin": 1}}, "process.pin: got 1, allowed here: true, false."),
        ({"decoder": {"dtype": "fp64"}}, "decoder.dtype: got 'fp64', allowed here: fp32, bf16."),
        ({"decoder": {"dtype": "fp16"}}, "decoder.dtype: 'fp16' can't be used on this machine: fp16 is slow on"),
        (
            {"decoder": {"backend": "graphs"}},
            "decoder.backend: 'graphs' can't be used on this machine: CUDA graphs need",
        ),
        (
            {"decoder": {"backend": "grahps"}},
            "decoder.backend: got 'grahps', expected one of eager, exported, graphs; did",
        ),
        (
            {"decoder": {"backend": {"level": 3}}},
            "decoder.backend: got {'level': 3}, expected a name or {use: name, …}",
        ),
        ({"decoder": {"backend": {"use": ["eager"]}}}, "decoder.backend: got ['eager'], expected one of"),
        (
            {"decoder": {"backend": {"use": "exported", "level": 4}}},
            "decoder.backend.level: got 4, allowed here: 0 to 9 in",
        ),
        (
            {"decoder": {"backend": {"use": "eager", "level": 3}}},
            "decoder.backend: unknown key 'level'; nothing can be",
        ),
        ({"decoder": [1]}, "decoder: expected named knobs, got [1]."),
        ([], "settings: expected named knobs, got []."),
        (
            {"decoder": {"slots": 32}, "vocoder": {"slots": 32}},
            "settings: can't be used on this machine: decoder.slots times",
        ),
    ],
)
def test_bad_values_are_refused_in_one_sentence(data: object, message: str) -> None:
    with pytest.raises(KnobError) as caught:
        knobs.load(Settings, data, CPU)
    assert str(caught.value).startswith(message)


def test_without_a_machine_only_what_is_known_is_checked() -> None:
    assert knobs.load(Settings, {"process": {"threads": 500}}).process.threads == 500
    with pytest.raises(KnobError, match=r"process\.threads: got 'all', expected int"):
        knobs.load(Settings, {"process": {"threads": "all"}})


def test_values_from_the_base_are_checked_too() -> None:
    base = knobs.load(Settings, {"process": {"threads": 500}})
    with pytest.raises(KnobError, match=r"process\.threads: got 500, allowed here: 1 to 4"):
        knobs.load(Settings, {}, CPU, base=base)


def test_whole_number_is_fine_for_a_fraction() -> None:
    share = knobs.load(Settings, {"process": {"share": 1}}).process.share
    assert (share, type(share)) == (1.0, float)


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("decoder.slots", "expected path=value"),
        ("=4", "expected path=value"),
        ("decoder=4", "is a group; name one of its knobs: backend, dtype, slots"),
        ("decoder.slot=4", "unknown key 'slot'; did you mean 'slots'?"),
        ("decoder.slots.x=4", "slots is a single value"),
        ("decoder.slots=four", r"got 'four', allowed: 1 to 32"),
        ("decoder.slots=[", "can't read the value"),
        ("decoder.backend.max_batch=4", "unknown key 'max_batch'; nothing can be set here"),
        ("decoder.backend.graphs.max_batch=4", "backend is 'eager', not 'graphs'; set backend=graphs first"),
        ("decoder.backend.eager=4", "name one of the knobs of 'eager': it has none"),
    ],
)
def test_bad_set_is_refused(assignment: str, message: str) -> None:
    with pytest.raises(KnobError) as caught:
        knobs.override(DEFAULT, assignment)
    assert message in str(caught.value)


def test_set_of_a_plugin_and_its_knobs() -> None:
    settings = knobs.override(knobs.override(DEFAULT, "decoder.backend=graphs"), "decoder.backend.max_batch = 2")
    settings = knobs.override(settings, "decoder.backend.graphs.pool=off", GPU)
    assert settings.decoder.backend == Graphs(max_batch=2, pool="off")
    with pytest.raises(KnobError, match="CUDA graphs need"):
        knobs.override(settings, "decoder.slots=2", CPU)


def test_clamp_says_what_it_changed() -> None:
    wild = replace(
        DEFAULT,
        process=Process(threads=500, window=300),
        decoder=Stage(backend=Graphs(max_batch=64), dtype="fp16", slots=90),
        vocoder=Stage(backend=Exported(level=5)),
    )
    fitted, changed = knobs.clamp(wild, CPU)
    assert "process.threads: 500 -> 4" in changed
    assert "process.window: 300 -> 256" in changed
    assert "decoder.backend: graphs -> eager" in changed
    assert "decoder.dtype: fp16 -> fp32" in changed
    assert "decoder.slots: 90 -> 32" in changed
    assert "vocoder.backend.exported.level: 5 -> 6" in changed or "vocoder.backend.exported.level: 5 -> 3" in changed
    assert fitted.decoder.backend == Eager()


def test_clamp_resets_a_group_that_still_refuses() -> None:
    fitted, changed = knobs.clamp(replace(DEFAULT, decoder=Stage(slots=32), vocoder=Stage(slots=32)), CPU)
    assert fitted == DEFAULT
    assert len(changed) == 2


def test_refused_combinations_carry_settings_and_reason() -> None:
    class Large(Dice):
        def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> int:
            return high

    with pytest.raises(RejectedSettings) as caught:
        knobs.suggest(Large(0), Settings, CPU)
    assert isinstance(caught.value.settings, Settings)
    assert caught.value.reason == "settings: decoder.slots times vocoder.slots may not be over 512."
    with pytest.raises(RejectedSettings, match="not today"):
        knobs.suggest(Dice(1), Process, CPU, lambda settings: "not today")


def test_numbers_can_be_refused_one_by_one() -> None:
    def even(value: int, on: Any) -> str | None:
        return None if value % 2 == 0 else f"{value} is odd."

    @dataclass(frozen=True, slots=True)
    class Group:
        size: int = knob(IntRange(1, 9), default=2, doc="Even.", available=even)

    assert knobs.clamp(Group(size=7), CPU)[0].size == 6
    with pytest.raises(KnobError, match=r"size: 7 can't be used on this machine: 7 is odd"):
        knobs.load(Group, {"size": 7}, CPU)


def test_walk_lists_every_knob_once() -> None:
    paths = [found.path for found in knobs.walk(Settings)]
    assert len(paths) == len(set(paths))
    assert paths[:2] == ["process.threads", "process.wait"]
    assert "decoder.backend.graphs.max_batch" in paths
    assert [found.path for found in knobs.walk(Settings) if not found.exact] == ["decoder.dtype", "vocoder.dtype"]


def test_describe_shows_what_is_allowed_here() -> None:
    here = {row.path: row for row in knobs.describe(Settings, CPU)}
    assert here["process.threads"].allowed == "1 to 4"
    assert here["decoder.backend"].refused == (("graphs", "CUDA graphs need an NVIDIA GPU."),)
    assert here["decoder.backend"].default == "eager"
    assert "decoder.backend.graphs.max_batch" not in here
    anywhere = {row.path: row for row in knobs.describe(Settings)}
    assert anywhere["process.threads"].allowed == "depends on the machine"
    assert anywhere["process.pin"].default == "false"
    assert anywhere["decoder.backend.graphs.max_batch"].allowed == "1 to 32"


def test_size_counts_the_space() -> None:
    stage_on_cpu = (1 + 4) * 2 * 32
    assert knobs.size(Settings, CPU) == (4 * 2 * 2 * 2 * 3) * stage_on_cpu**2
    assert knobs.size(Stage, GPU) == (1 + 4 + 32 * 2) * 3 * 32


def test_space_key_follows_the_machine() -> None:
    assert knobs.space_key(Settings, CPU) == knobs.space_key(Settings, machine())
    assert len({knobs.space_key(Settings, on) for on in (CPU, GPU, machine(cores=5))}) == 3


def test_key_does_not_change_between_releases_by_accident() -> None:
    assert knobs.key(Process()) == knobs.key(Process(threads=1))
    assert len(knobs.key(Process())) == 16


def test_unknown_flat_path_is_refused() -> None:
    with pytest.raises(KnobError, match=r"unknown path 'decoder\.slotz'; did you mean 'decoder\.slots'\?"):
        knobs.unflatten(Settings, {"decoder.slotz": 1})
    assert knobs.unflatten(Settings, {"decoder.backend.graphs.max_batch": 1}) == DEFAULT


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Choice(()), "at least one value"),
        (lambda: Choice((1, True)), "distinct values"),
        (lambda: Choice((None,)), "but got None"),  # type: ignore[arg-type]
        (lambda: Choice((float("nan"),)), "finite"),
        (lambda: IntRange(4, 1), r"`low <= high` must hold, but got \(low=4, high=1\)"),
        (lambda: IntRange(1, 4, step=0), r"step=0"),
        (lambda: IntRange(0, 4, log=True), "log range"),
        (lambda: IntRange(1, True), "whole numbers"),
        (lambda: OneOf({}), "at least one plug-in"),
        (lambda: knob(IntRange(1, 4), default=5, doc=""), "default 5 is outside"),
        (lambda: knob(OneOf(BACKENDS), default="eager", doc=""), "default 'eager' is outside"),
        (lambda: knob(lambda on: IntRange(1, 2), default=None, doc=""), "default None is outside"),
    ],
)
def test_wrong_declarations_are_refused(make: Any, message: str) -> None:
    with pytest.raises(KnobError, match=message):
        make()


def test_a_group_holds_only_knobs_and_groups() -> None:
    @dataclass(frozen=True)
    class Loose:
        name: str = field(default="x")

    @dataclass
    class Changeable:
        size: int = knob(IntRange(1, 2), default=1, doc="")

    with pytest.raises(KnobError, match=r"Loose\.name must be declared with knob"):
        knobs.members(Loose)
    with pytest.raises(KnobError, match="Changeable must be a frozen dataclass"):
        knobs.members(Changeable)


def test_a_machine_that_allows_nothing_is_named() -> None:
    @dataclass(frozen=True, slots=True)
    class Group:
        backend: Graphs = knob(OneOf({"graphs": Graphs}), default=Graphs(), doc="")

    with pytest.raises(KnobError, match=r"backend: no value can be used on this machine: CUDA graphs need"):
        knobs.suggest(Dice(0), Group, CPU)


@given(low=st.integers(-50, 50), span=st.integers(0, 60), step=st.integers(1, 9), value=st.integers(-200, 200))
def test_nearest_member_is_nearest(low: int, span: int, step: int, value: int) -> None:
    numbers = IntRange(low, low + span, step)
    near = numbers.nearest(value)
    assert numbers.find(near) == near
    assert abs(near - value) == min(abs(number - value) for number in numbers)
    assert len(list(numbers)) == len(numbers)
    assert list(numbers)[-1] == numbers.last


def test_optuna_remembers_what_flatten_says() -> None:
    optuna = pytest.importorskip("optuna")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    wanted = knobs.override(knobs.override(DEFAULT, "decoder.backend=graphs"), "decoder.backend.max_batch=7")
    study.enqueue_trial(knobs.flatten(wanted))
    trial = study.ask()
    assert knobs.suggest(trial, Settings, GPU) == wanted
    assert knobs.unflatten(Settings, trial.params, GPU) == wanted
