"""What a tuning is for: what is timed, and what else must hold. Knows no networks; `rehearsal` does the work."""

from collections.abc import Mapping
from dataclasses import dataclass

UNIT = "seconds, smaller is better"


@dataclass(frozen=True, slots=True)
class Scenario:
    """name: as profiles call it. objective: what is timed, in words. doc: for whom. limited: to a memory budget."""

    name: str
    objective: str
    doc: str
    limited: bool = False


_LONG_TEXT = "seconds to decode a paragraph of short sentences and to render as many tokens in one piece"
SCENARIOS: Mapping[str, Scenario] = {
    each.name: each
    for each in (
        Scenario("throughput", _LONG_TEXT, "long texts, many sentences"),
        Scenario(
            "latency",
            "seconds to the first audio of a paragraph, and to speak one sentence alone",
            "one user who waits: time to the first audio, and speed of a single sentence",
        ),
        Scenario(
            "low-memory",
            f"{_LONG_TEXT}, within a memory budget",
            "the fastest that needs at most --memory",
            limited=True,
        ),
    )
}
DEFAULT_SCENARIO = "throughput"
