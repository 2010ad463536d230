"""The report as one HTML file, from decisions that were written down, with names that would like to break it."""

import re
from collections.abc import Sequence
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest
import toy_subject
from test_report import BAD, DECISION, GOOD
from toy_subject import Speed

from autotune import knobs
from autotune.charts import Scale, scale_over
from autotune.decision import Decision, Finalist, TrialRecord
from autotune.errors import SearchError
from autotune.fingerprint import fingerprint
from autotune.measure import Gate, Outcome, Sample
from autotune.page import page, write_report
from autotune.profile import Evidence, Match, Profile, Provenance
from autotune.report import terminal_picture
from autotune.stats import Estimate

VOID = {"meta", "br", "hr", "img", "input", "link"}
HOSTILE = '</style><script>alert("1")</script><img src=//evil.example/x onerror=alert(1)>&amp;\x00\x1b[31m\ud800'
FAST = Speed(block=2048)


def blocks(milliseconds: Sequence[float]) -> tuple[Sample, ...]:
    warm_up = Sample(0, 9.0, 1, used=False, note="warm-up")
    return (warm_up, *(Sample(index % 2, each / 500, 2, used=True, note="") for index, each in enumerate(milliseconds)))


MEASURED = replace(
    GOOD,
    settings=FAST,
    gates=(Gate("close", True, 0.0, 1e-9, "largest difference"),),
    peak_memory_bytes=80 << 20,
    started_seconds=5.0,
    samples=blocks([8.0, 8.1] * 6),
    control_samples=blocks([10.0, 10.2] * 6)[1:],
)
WRONG = replace(
    BAD,
    number=3,
    outcome=Outcome.WRONG_OUTPUT,
    reason="unit 0: gate close failed",
    gates=(Gate("close", False, 0.25, 1e-9, "largest difference"),),
    started_seconds=9.0,
)
REFUSED = TrialRecord(
    4, Speed(spare=2), ("spare: 0 -> 2",), Outcome.REJECTED, "this spare is never used", None, (), 0.0, 0, 0.0
)
FINALIST = Finalist(
    FAST, (-0.22,) * 24, GOOD.estimate, 2, samples=MEASURED.samples, control_samples=MEASURED.control_samples
)
VERIFIED = replace(
    DECISION,
    settings=FAST,
    status="verified",
    reason="takes 0.800 of the default's time, surely below 0.980",
    ratio=0.8,
    ci_low=0.78,
    ci_high=0.82,
    pairs=24,
    finals=(FINALIST,),
    history=(MEASURED, BAD, WRONG, REFUSED),
    null=Estimate(0.003, -0.01, 0.014, 12),
    importances={"block": 0.9, "spare": 0.1},
    machine=toy_subject.toy_machine(),
)


def profile_for(decision: Decision, subject: str = "toy") -> Profile:
    facts = fingerprint(toy_subject.toy_machine())
    evidence = Evidence(
        "square roots", "seconds, smaller is better", 0.25, 0.8, 0.78, 0.82, 24, 0.015, 2, 30.0, {"torch": "2.13.0"},
        "2026-01-02",
    )  # fmt: skip
    return Profile(
        "toy-profile", subject, "throughput", "verified", Match.of(facts), knobs.dump(decision.settings),
        Provenance("toy", "1.0"), evidence=evidence,
    )  # fmt: skip


class Reader(HTMLParser):
    """Checks that every element is closed in its order, and collects what a browser would show and fetch."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[str] = []
        self.texts: list[str] = []
        self.attributes: list[tuple[str, str]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())


def read(text: str) -> Reader:
    reader = Reader()
    reader.feed(text)
    reader.close()
    assert reader.open == []
    return reader


def pictures(text: str) -> list[ElementTree.Element]:
    """Each as XML, which is stricter than what a browser asks for."""
    return [ElementTree.fromstring(each) for each in re.findall(r"<svg.*?</svg>", text, re.DOTALL)]


def test_the_page_says_what_was_decided_and_why():
    text = page(VERIFIED, profile_for(VERIFIED))
    reader = read(text)
    for words in (
        "Faster settings verified: 0.800 (0.780 to 0.820) of the default's time over 24 pairs",
        "1.25× speed of the default",
        "A/A: 1.003 (0.990 to 1.014)",
        "1. block: 64 -> 2048",
        "crashed: SIGSEGV",
        "close 0.25, limit 1e-09",
        "1 × this spare is never used",
        "median 8, p95 8, n 6",  # unit 0: every second block, warm-up left out
        "median 10.2, p95 10.2, n 6",
        "block 90%",
        "80 MiB",
        "seconds, smaller is better",
    ):
        assert words in reader.text, words
    assert len(pictures(text)) > 10


@pytest.mark.parametrize(
    "decision",
    [DECISION, replace(DECISION, history=()), replace(VERIFIED, status="candidate", importances={}, finals=())],
    ids=["default confirmed", "nothing tried", "cut short"],
)
def test_a_page_of_less_is_whole_too(decision: Decision):
    reader = read(page(decision, None))
    assert reader.tags.count("header") == 1
    assert "Machine and software" in reader.text


def test_settings_may_be_plain_data_as_a_study_holds_them():
    again = Decision.from_dict(VERIFIED.to_dict(), [TrialRecord.from_dict(each.to_dict()) for each in VERIFIED.history])
    assert page(again, None) == page(VERIFIED, None)


def test_a_machine_that_was_not_quiet_shows():
    busy = "other programs kept 1.5 cores busy"
    noted = tuple(
        replace(each, note=busy, used=index > 0, seconds=1.0 + index)
        for index, each in enumerate(MEASURED.control_samples)
    )
    text = read(page(replace(VERIFIED, history=(replace(MEASURED, control_samples=noted),), finals=()), None)).text
    assert f"Something disturbed 12 of 12 pairs ({busy}, for one); 1 of them were repeated, 11 count." in text
    assert "disturbed" not in read(page(replace(DECISION, history=(MEASURED,)), None)).text


def test_nothing_comes_from_elsewhere_and_nothing_runs():
    text = page(VERIFIED, profile_for(VERIFIED))
    reader = read(text)
    assert not {"script", "link", "img", "iframe", "object", "embed", "base", "form", "a"} & set(reader.tags)
    assert not {name for name, _ in reader.attributes if name.startswith("on") or name in ("src", "href", "style")}
    assert "//" not in text
    assert "@import" not in text
    assert "url(" not in text
    assert ("content", "default-src 'none'; style-src 'unsafe-inline'") in reader.attributes


def test_hostile_names_stay_text():
    hostile = replace(
        VERIFIED,
        reason=HOSTILE,
        importances={HOSTILE: 1.0},
        history=(replace(MEASURED, changes=(HOSTILE,), reason=HOSTILE), replace(WRONG, reason=HOSTILE)),
    )
    text = page(hostile, profile_for(VERIFIED, subject=HOSTILE))
    reader = read(text)
    assert "script" not in reader.tags
    assert "img" not in reader.tags
    assert not {name for name, _ in reader.attributes if name.startswith("on")}
    assert '</style><script>alert("1")</script>' in reader.text
    assert not re.search("[\x00-\x08\x0b-\x1f\ud800-\udfff]", text)
    text.encode("utf-8")


def test_what_names_a_person_is_left_out():
    crashed = replace(BAD, reason="No such file: /home/erika/voices/a.ckpt, GPU-01234567-89ab-cdef-0123-456789abcdef")
    text = page(replace(VERIFIED, history=(MEASURED, crashed)), None)
    assert "erika" not in text
    assert "01234567" not in text


def test_it_is_written_whole_or_not_at_all(tmp_path: Path):
    path = tmp_path / "report.html"
    write_report(VERIFIED, None, path)
    assert path.read_text(encoding="utf-8") == page(VERIFIED, None)
    assert [each.name for each in tmp_path.iterdir()] == ["report.html"]
    with pytest.raises(SearchError, match="can't be written"):
        write_report(VERIFIED, None, tmp_path / "nowhere" / "report.html")


def test_a_picture_of_the_terminal_needs_no_font_from_elsewhere():
    text = terminal_picture(VERIFIED, "tune")
    ElementTree.fromstring(text)
    assert "url(" not in text.replace("url(#", "")
    assert "SIGSEGV" in text


def test_scales():
    even, ratios = Scale(0.0, 10.0), Scale(0.5, 2.0, ratios=True)
    assert [even.percent(each) for each in (-1.0, 0.0, 5.0, 20.0)] == ["0.00%", "0.00%", "50.00%", "100.00%"]
    assert [round(ratios.share(each), 6) for each in (0.0, 0.5, 1.0, 2.0)] == [0.0, 0.0, 0.5, 1.0]
    assert even.ticks() == [0.0, 2.0, 4.0, 6.0, 8.0, 10.0]
    for low, high in ((0.0, 10.0), (0.001, 0.0013), (12.0, 4000.0), (0.97, 1.02), (5.0, 6.0)):
        ticks = scale_over([low, high]).ticks()
        assert 2 <= len(ticks) <= 7
        assert ticks == sorted(set(ticks))
    alike = scale_over([3.0, 3.0])
    assert alike.low < 3.0 < alike.high
