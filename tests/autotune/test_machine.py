import pytest
import recorded

from autotune.errors import ProbeError
from autotune.machine import Cache, CoreGroup, Cpu, Machine
from autotune.probe import probe


def chip(**changes: object) -> Cpu:
    facts: dict[str, object] = {
        "vendor": "intel",
        "model": "",
        "family": "6.154",
        "arch": "x86_64",
        "isa": ("avx2",),
        "logical_cores": 16,
        "physical_cores": 8,
    }
    return Cpu(**{**facts, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("affinity", "quota", "expected"),
    [((), None, 16), ((0, 1, 2), None, 3), ((0, 1, 2), 2.9, 2), ((), 0.25, 1), ((0,), 8.0, 1), ((), 100.0, 16)],
)
def test_usable_cores_is_the_smaller_of_affinity_and_quota(
    affinity: tuple[int, ...], quota: float | None, expected: int
) -> None:
    assert chip(affinity=affinity, quota=quota).usable_cores == expected


def test_hyper_threads_count_once() -> None:
    assert chip().usable_physical_cores == 8
    assert chip(quota=3.0).usable_physical_cores == 3
    assert chip(affinity=(0, 1, 2)).usable_physical_cores == 2


def test_core_kinds_and_caches_follow_affinity() -> None:
    groups = (CoreGroup("performance", (0, 1)), CoreGroup("efficiency", (2, 3)))
    caches = (Cache(3, 100, (0, 1)), Cache(3, 200, (2, 3)), Cache(2, 5, (0,)))
    some = chip(core_groups=groups, caches=caches, affinity=(1,))
    assert some.cpus_of("performance") == (1,)
    assert some.cpus_of("efficiency") == ()
    assert some.cache_domains(3) == ((1,),)
    assert some.cache_bytes(3) == 200
    assert some.cache_bytes(4) == 0


def test_reading_back_is_strict() -> None:
    data = probe(recorded.read(recorded.FOLDER / "h200_host.txt")[0]).to_dict()
    with pytest.raises(ProbeError, match=r"machine\.cpu: unknown key 'vendr'; did you mean 'vendor'\?"):
        Machine.from_dict({**data, "cpu": {**data["cpu"], "vendr": "x"}})
    with pytest.raises(ProbeError, match=r"machine\.cpu\.logical_cores: expected int, got str 'many'"):
        Machine.from_dict({**data, "cpu": {**data["cpu"], "logical_cores": "many"}})
    with pytest.raises(ProbeError, match=r"machine\.cpu\.isa: expected a list"):
        Machine.from_dict({**data, "cpu": {**data["cpu"], "isa": "avx2"}})
    with pytest.raises(ProbeError, match="'memory' is missing"):
        Machine.from_dict({key: value for key, value in data.items() if key != "memory"})
    with pytest.raises(ProbeError, match="expected named fields"):
        Machine.from_dict([1])
