"""Turns, ratios and checks, with contestants that say how long they took."""

import pytest
from fakes import fake
from rich.console import Console

from benchmarks import outcome, tables, tasks
from benchmarks.contestants import ContestantError
from benchmarks.outcome import Outcome, OutcomeError
from benchmarks.rounds import Company, Limits

LIMITS = Limits(rounds=3, budget_seconds=60)
TASKS = [tasks.decoding(2, tokens=8), tasks.rendering(tokens=25), tasks.one_user()]


def measured(*entries, chosen=TASKS, limits=LIMITS, told=None):
    said = [] if told is None else told
    with Company(entries, "work.npz", said.append) as company:
        lines = company.measure(chosen, limits)
        return Outcome(
            outcome.SCHEMA, "test", "2026-01-01", "v2", "a machine", {"python": "3"}, {"rounds": 3}, company.takings,
            tuple(lines),
        )  # fmt: skip


def line(found, figure, contestant):
    return next(each for each in found.lines if (each.figure, each.contestant) == (figure, contestant))


@pytest.fixture(scope="module")
def found():
    return measured(
        fake("plain", peer=False), fake("fast", 4.0, peer=False), fake("slow", 0.5), fake("odd", 1, "token")
    )


def test_a_figure_is_in_its_unit(found):
    assert line(found, "T2S, batch 2", "fast").median == pytest.approx(4.0)
    assert line(found, "tokens to waveform", "slow").median == pytest.approx(2.0)
    assert line(found, "end to end, 1 user, 10 s", "plain").median == pytest.approx(0.1)
    assert line(found, "T2S, batch 2", "fast").samples == pytest.approx([4.0] * 3)  # the warm-up is not one of them


@pytest.mark.parametrize("figure", ["T2S, batch 2", "tokens to waveform", "end to end, 1 user, 10 s"])
def test_ratios_say_how_many_times_better(found, figure):
    ratios = {each.other: each for each in line(found, figure, "fast").versus}
    assert ratios.keys() == {"plain", "slow", "odd"}
    assert ratios["slow"].times == pytest.approx(8.0)
    assert ratios["slow"].low <= 8.0001
    assert ratios["slow"].high >= 7.9999
    assert ratios["slow"].pairs == 3


def test_every_figure_has_its_check(found):
    assert line(found, "T2S, batch 2", "plain").check.text == "reference"
    assert line(found, "T2S, batch 2", "slow").check.exact
    assert line(found, "T2S, batch 2", "odd").check.text == "11 of 16 tokens equal before the first other one"
    assert not line(found, "tokens to waveform", "fast").check.exact
    spoken = line(found, "end to end, 1 user, 10 s", "odd").check
    assert "3 of 32 tokens" in spoken.text
    assert "wave" in spoken.text
    assert spoken.exact is False


def test_a_part_that_nobody_times_is_said_to_be_missing(found):
    vocoder = line(found, "vocoder", "slow")
    assert (vocoder.samples, vocoder.note) == ((), "it does not tell this apart")


def test_what_a_peer_can_not_do_is_told(found):
    streamed = measured(fake("plain", peer=False), fake("peer"), chosen=[tasks.first_audio()])
    assert line(streamed, "first audio", "peer").note == "it does not stream"
    shown = text_of(streamed)
    assert "peer: no first audio: it does not stream" in shown


def test_a_peer_that_speaks_less_is_told_of():
    got = measured(fake("plain", peer=False), fake("whole"), fake("half", fault="short"), chosen=[tasks.one_user()])
    assert line(got, "end to end, 1 user, 10 s", "whole").check.text.endswith("; as long")
    assert line(got, "end to end, 1 user, 10 s", "half").check.text.endswith("; 50% as long")
    assert line(got, "end to end, 1 user, 10 s", "half").check.exact is False


@pytest.mark.parametrize(("fault", "left"), [("unprepared", 0), ("late", 1), ("dies", 3)])
def test_a_peer_that_fails_is_left_out_with_its_reason(fault, left):
    told = []
    got = measured(fake("plain", peer=False), fake("weak", fault=fault), told=told)
    assert len(line(got, "tokens to waveform", "weak").samples) == (left if fault != "late" else 0)
    last = line(got, "end to end, 1 user, 10 s", "weak")
    assert not last.samples
    assert last.note
    assert any("weak is left out" in each for each in told)


def test_ours_must_not_fail():
    with pytest.raises(ContestantError, match="of another kind"):
        measured(fake("plain", peer=False), fake("ours", fault="unprepared", peer=False))


def test_a_task_in_a_new_process_is_timed_from_its_start():
    got = measured(fake("plain", peer=False), fake("peer", 1000.0), chosen=[tasks.start()], limits=Limits(2, 60))
    process = line(got, "process to first 2 s of audio", "peer")
    assert all(seconds > 0.01 for seconds in process.samples)  # not the 0.001 s that it says its work took
    assert line(got, "peak memory, 2 s of audio", "peer").median > 1


def test_the_budget_ends_the_rounds_but_not_the_first_two():
    got = measured(fake("plain", peer=False), fake("peer"), limits=Limits(50, 0.0))
    assert len(line(got, "T2S, batch 2", "peer").samples) == 2


def test_a_long_task_counts_from_its_first_run():
    got = measured(fake("plain", peer=False), chosen=[tasks.characters(1000)], limits=Limits(50, 0.0))
    assert len(line(got, "1000 characters", "plain").samples) == 1
    assert line(got, "1000 characters", "plain").warm_up is None


def test_results_come_back_from_their_file(found, tmp_path):
    path = tmp_path / "folder" / "found.json"
    found.write(path)
    assert outcome.read(path) == found


@pytest.mark.parametrize("content", ["", "[]", '{"schema": 99}'])
def test_files_that_are_no_results_are_refused(tmp_path, content):
    path = tmp_path / "other.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(OutcomeError, match=r"other\.json"):
        outcome.read(path)


def test_the_table_says_what_there_is_to_doubt(found):
    shown = text_of(found)
    assert "better than slow" in shown
    assert "8.00 (8.00 - 8.00)" in shown
    assert "abc1234" in shown
    assert "11 of 16 tokens" in shown


def test_pictures(found, tmp_path):
    pytest.importorskip("matplotlib", reason="needs the extra plots")
    tables.picture(found, tmp_path / "found.png")
    assert (tmp_path / "found.png").stat().st_size > 5000


def text_of(found):
    console = Console(width=220, record=True, quiet=False, file=open("/dev/null", "w", encoding="utf-8"))  # noqa: SIM115
    with console.file:
        tables.show(found, console)
        return console.export_text()
