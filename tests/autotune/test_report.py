import io
from dataclasses import replace

import toy_subject
from rich.console import Console
from toy_subject import Speed

from autotune.decision import Decision, Finalist, TrialRecord
from autotune.duel import Control
from autotune.measure import Gate, Outcome
from autotune.report import Report, summary
from autotune.stats import NO_DIFFERENCE, Estimate

FASTER = Estimate(-0.2231436, -0.25, -0.2, 12)
CONTROL = Control(0.5, (0.25, 0.125), (1, 1), 64 << 20)
GOOD = TrialRecord(1, Speed(), ("block: 64 -> 2048",), Outcome.OK, "", FASTER, (-0.22,) * 12, 0.5, 1, 3.0)
FAILED_GATE = Gate("close", False, 0.25, 1e-9, "largest difference")
BAD = TrialRecord(2, Speed(), ("kind: [a] -> [b]",), Outcome.CRASHED, "SIGSEGV", None, (), 0.5, 1, 3.0, (FAILED_GATE,))
DECISION = Decision(
    settings=Speed(),
    status="default-confirmed",
    reason="nothing was faster",
    ratio=1.0,
    ci_low=1.0,
    ci_high=1.0,
    pairs=0,
    resolution=0.015,
    trials=2,
    seconds=30.0,
    seed=0,
    control=CONTROL,
    samples=(),
    finals=(),
    history=(GOOD, BAD),
)


def watched(terminal: bool) -> str:
    out = io.StringIO()
    with Report(Console(file=out, force_terminal=terminal, width=120)) as report:
        report.on_machine(toy_subject.toy_machine(), 60.0)
        report.on_control(CONTROL, 0.015)
        report.on_trial_start(1, GOOD.changes)
        report.on_pair(1, [-0.22, -0.23])
        report.on_trial_end(GOOD)
        report.on_trial_end(BAD)
        report.on_final(Finalist(Speed(), (-0.22,) * 24, FASTER, 2), GOOD.changes)
        report.on_note("the end")
    return out.getvalue()


def test_without_a_terminal_each_event_is_one_line():
    lines = watched(terminal=False).splitlines()
    assert lines[0] == "Toy, 2 usable cores, no accelerator"
    assert "0.25, 0.125 s per unit, 64 MiB; differences below 1.5% don't count here" in lines[1]
    assert lines[2].startswith(
        "trial 1: block: 64 -> 2048 | 0.800 (0.779 to 0.819) | ok | best so far: trial 1, 0.800 of"
    )
    assert lines[3].startswith(
        "trial 2: kind: [a] -> [b] | - | gates: close 0.25, limit 1e-09 | crashed: SIGSEGV | best"
    )
    assert "24 pairs, 2 starts" in lines[4]
    assert lines[5] == "the end"
    assert len(lines) == 6


def test_on_a_terminal_there_is_a_table():
    text = watched(terminal=True)
    for words in (
        "time ratio (95 %)",
        "trial 1",
        "0.800 (0.779 to 0.819)",
        "crashed: SIGSEGV",
        "[a] -> [b]",
        "limit 1e-09",
    ):
        assert words in text


def test_the_summary_says_what_was_decided_and_how_sure_it_is():
    assert summary(DECISION).startswith("Default settings confirmed: nothing was faster. 2 trials in 30 s; differences")
    verified = replace(DECISION, status="verified", reason="is it", ratio=0.8, ci_low=0.78, ci_high=0.82, pairs=24)
    assert "0.800 (0.780 to 0.820) of the default's time over 24 pairs" in summary(verified)
    assert summary(replace(DECISION, status="candidate", reason="stopped")).startswith("Not finished (stopped)")
    assert NO_DIFFERENCE.ratio == 1.0
