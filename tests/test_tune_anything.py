"""docs/tune_anything.py and its page: another subject is tuned, its profile stored and found again."""

import re
from pathlib import Path

import numpy as np
import tune_anything
from tune_anything import Differences, NearestCentre, Product, Runner, Settings

from autotune import knobs, store
from autotune.duel import Effort, Rules
from autotune.measure import Guard
from autotune.probe import probe

ROOT = Path(__file__).resolve().parent.parent
QUICK = Rules(
    explore=Effort(6, drop=True, settle=0.05),
    null=Effort(6, drop=False, settle=0.0),
    null_rounds=1,
    final=Effort(6, drop=False, settle=0.0),
    final_rounds=1,
    block_seconds=0.005,
    guard=Guard(steal_share=2.0, throttled_share=2.0, foreign_cores=1000.0),
)


def test_all_ways_find_the_same_centres():
    plain = Runner(Settings())
    outputs = [plain.run(unit) for unit in range(plain.units)]
    for method in (Product(128), Product(16), Differences(4), Differences(64)):
        for settings in (Settings(method, rows=256, order="F"), Settings(method, rows=1024, workers=2)):
            for unit, expected in enumerate(outputs):
                np.testing.assert_array_equal(Runner(settings).run(unit)["nearest"], expected["nearest"])
    wrong = {"nearest": np.roll(outputs[0]["nearest"], 1)}
    assert not plain.compare(0, outputs[0], wrong)[0].passed


def test_it_is_tuned_and_its_profile_is_found_again(tmp_path: Path):
    seeds = [Settings(Product(128), rows=256)]
    decision = tune_anything.tune_here(tmp_path, budget_seconds=300, max_trials=2, seeds=seeds, rules=QUICK)
    print(decision.status, decision.reason)
    assert decision.trials == 2
    (path,) = store.files(tmp_path)
    profile = store.load(path)
    assert (profile.subject, profile.status) == ("nearest-centre", decision.status)
    assert knobs.load(Settings, profile.settings, probe()) == decision.settings
    assert profile.environment == {"OPENBLAS_NUM_THREADS": str(decision.settings.blas_threads)}
    found = tune_anything.settings_here(tmp_path)
    trusted = decision.status in ("verified", "default-confirmed")
    assert found == (decision.settings if trusted else Settings())


def test_without_a_profile_or_with_one_of_others_the_defaults_are_used(tmp_path: Path):
    assert tune_anything.settings_here(tmp_path) == NearestCentre().default(probe())


def test_the_page_shows_what_is_in_the_file():
    page = (ROOT / "docs" / "tune-anything.md").read_text(encoding="utf-8")
    source = (ROOT / "docs" / "tune_anything.py").read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    assert blocks
    for line in "".join(blocks).splitlines():
        assert line.strip() in source, line
    assert len(source.splitlines()) < 160
