"""Everything that can go wrong in a trial, planted, and called what it is; right settings are never called wrong."""

import sys

import pytest
from toy_subject import EXPECTED, FAULTS

from benchmarks.faults import false_alarms, injected

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="memory limits and signals as Linux has them")


def test_every_planted_fault_has_its_name():
    called = list(injected())
    for each in called:
        print(f"{each.fault}: {each.found.value}: {each.reason}")
    assert [each.fault for each in called if not each.right] == []
    assert {each.fault for each in called} == set(FAULTS) - {"none"}
    assert set(EXPECTED) == set(FAULTS) - {"none"}
    assert all(each.reason for each in called)


def test_right_settings_raise_no_alarm():
    assert false_alarms(4) == 0


@pytest.mark.full
def test_twenty_right_settings_raise_no_alarm():
    assert false_alarms(20) == 0
