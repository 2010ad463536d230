"""The model behind the search: does it point at what is really worth trying?"""

import itertools
import math

import numpy as np

from autotune import surrogate

KNOBS = {"slots": (1, 2, 4, 8, 16), "backend": ("eager", "graphs"), "threads": (1, 2), "nothing": ("a", "b")}
ALL = [dict(zip(KNOBS, values, strict=True)) for values in itertools.product(*KNOBS.values())]


def truth(flat: surrogate.Flat) -> float:
    """Log-ratio to the defaults: more slots gain, one backend gains, together a little more; "nothing" does nothing."""
    slots, graphs = math.log2(float(flat["slots"])), flat["backend"] == "graphs"
    return -0.1 * slots - 0.2 * graphs - 0.05 * slots * graphs + 0.1 * (flat["threads"] == 1)


def searched(seed: int, count: int) -> list[surrogate.Flat]:
    """Five settings at random, then those that the model expects most of."""
    generator = np.random.default_rng(seed)
    tried = [ALL[int(index)] for index in generator.permutation(len(ALL))[:5]]
    while len(tried) < count:
        known = [(flat, truth(flat) + generator.normal(0.0, 0.02)) for flat in tried]
        rest = [flat for flat in ALL if flat not in tried]
        tried.append(rest[int(np.argmax(surrogate.improvements(known, rest)))])
    return tried


def test_few_answers_lead_to_the_best():
    best = min(map(truth, ALL))
    regrets = [min(map(truth, searched(seed, 14))) - best for seed in range(20)]
    print(f"after 14 of {len(ALL)}: {sum(regret < 0.02 for regret in regrets)} of 20 found the best")
    assert sum(regret < 0.02 for regret in regrets) >= 18


def test_what_does_not_work_is_avoided_and_one_answer_is_enough_to_begin():
    default = ALL[0]
    alone = surrogate.improvements([(default, 0.0)], ALL[1:])
    assert np.isfinite(alone).all()
    assert (alone > 0).all()
    broken = [(flat, None if flat["backend"] == "graphs" else 0.0) for flat in ALL if flat["nothing"] == "a"]
    asked = [flat for flat in ALL if flat["nothing"] == "b"]
    expected = surrogate.improvements(broken, asked)
    graphs = np.array([flat["backend"] == "graphs" for flat in asked])
    print(f"expected of what fails {expected[graphs].max():.4f}, of the others {expected[~graphs].max():.4f}")
    assert expected[graphs].max() < expected[~graphs].min()


def test_settings_with_other_knobs_can_be_compared():
    known = [({"backend": "eager"}, 0.0), ({"backend": "compiled", "backend.compiled.mode": "default"}, -0.2)]
    asked = [{"backend": "compiled", "backend.compiled.mode": "max"}, {"backend": "eager"}]
    near, far = surrogate.improvements(known, asked)
    assert near > far
