"""Lines of JSON between a benchmark and a contestant, and what becomes of those that don't keep to them."""

import pytest
from fakes import fake, script

from benchmarks import contestants
from benchmarks.contestants import Contestant, ContestantError, Entry, MissingWorkError, commit_of


@pytest.fixture
def running():
    with Contestant(fake("fake")) as contestant:
        yield contestant


def test_what_it_prints_does_not_get_among_the_answers(running):
    answer = running.ask("prepare", {"work": "somewhere"})
    assert answer.facts["threads"] == 1
    assert answer.peak_bytes > 2**20


def test_outputs_go_where_they_are_asked_to(running, tmp_path):
    answer = running.ask("decode", {"batch": 2, "tokens": 3}, tmp_path / "outputs.npz")
    assert (answer.seconds, answer.parts["prefill"], answer.counts["stepped"]) == (7.0, 1.0, 6)
    assert (tmp_path / "outputs.npz").exists()


@pytest.mark.parametrize(("asked", "said"), [("stream", "does not stream"), ("fly", "'fly'"), ("_speed", "'_speed'")])
def test_what_it_can_not_do_is_missing(running, asked, said):
    with pytest.raises(MissingWorkError, match=said):
        running.ask(asked, {})


def test_after_an_error_it_goes_on(running):
    with pytest.raises(ContestantError, match="fake could not decode: TypeError"):
        running.ask("decode", {})
    assert running.ask("decode", {"batch": 1, "tokens": 1}).seconds == 2.0


def test_a_death_is_told_with_its_last_words():
    with Contestant(fake("mortal", fault="dies")) as contestant, pytest.raises(ContestantError, match="out of memory"):
        contestant.ask("speech", {})


def test_a_death_before_the_first_question_too():
    entry, said = script("still", "raise SystemExit('no such package')"), "asked to prepare: no such package"
    with Contestant(entry) as contestant, pytest.raises(ContestantError, match=said):
        contestant.ask("prepare", {})


def test_an_answer_that_is_no_json():
    with (
        Contestant(script("rude", "print(input()[:3])")) as contestant,
        pytest.raises(ContestantError, match="no line"),
    ):
        contestant.ask("prepare", {})


def test_a_silence_ends_at_the_deadline(running, monkeypatch):
    monkeypatch.setattr(contestants, "DEADLINE_SECONDS", 0.2)
    monkeypatch.setattr(contestants, "GOODBYE_SECONDS", 0.1)
    with pytest.raises(ContestantError, match="no answer to 'hang'"):
        running.ask("hang", {})


def test_the_commit_of_a_checkout(tmp_path):
    assert commit_of(tmp_path) == "unknown"
    (tmp_path / "COMMIT").write_text("48b1a0169a28582a8984\n", encoding="utf-8")
    assert commit_of(tmp_path) == "48b1a0169a28"


def test_a_python_that_is_not_there():
    entry = Entry("peer", ("/no/such/python", "x.py"), {}, {}, peer=True)
    with pytest.raises(ContestantError, match="peer can't be started with /no/such/python"):
        Contestant(entry)
