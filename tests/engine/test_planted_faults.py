"""Faults planted into a real pair of networks are caught; twenty ways to speak the same raise no alarm."""

from dataclasses import replace

import pytest

from benchmarks import speech_faults


@pytest.fixture
def paths(speaker):
    return replace(speaker.paths(speaker.pack.case("v2_zh_greedy")), hubert=None, bert=None)


def test_every_planted_fault_is_caught(paths):
    found = list(speech_faults.planted(paths))
    for each in found:
        print(f"{each.fault}, {'exact' if each.exact else 'inexact'}: {', '.join(each.failed) or 'MISSED'}")
    names = {*speech_faults.BROKEN_NETWORKS, *speech_faults.BROKEN_WAVES}
    assert {each.fault for each in found} == names
    assert len(found) == 2 * len(names)
    assert [each for each in found if not each.failed] == []


def test_right_settings_raise_no_alarm(paths):
    found = list(speech_faults.false_alarms(paths))
    assert len(found) == 20
    assert [each for each in found if each.failed] == []
