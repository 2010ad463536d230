"""What a session writes down, what it decides, and who may watch. Plain data and a protocol."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol

from autotune import knobs, plain
from autotune.duel import Control
from autotune.errors import SearchError
from autotune.machine import Machine
from autotune.measure import Gate, Outcome, Sample
from autotune.stats import Estimate

Status = Literal["verified", "default-confirmed", "candidate", "rejected"]


@dataclass(frozen=True, slots=True)
class TrialRecord:
    """One candidate: where it came from, how it ended, and every pair.

    changes: what differs from the default settings, as text. estimate: None if no pair was completed.
    started_seconds: since the session began. samples, control_samples: of both sides, warm-ups and repeated blocks
    included. stderr: the end of what the process said; kept beside the record, not in it.
    """

    number: int
    settings: Any
    changes: tuple[str, ...]
    outcome: Outcome
    reason: str
    estimate: Estimate | None
    log_ratios: tuple[float, ...]
    open_seconds: float
    peak_memory_bytes: int
    seconds: float
    gates: tuple[Gate, ...] = ()
    started_seconds: float = 0.0
    samples: tuple[Sample, ...] = ()
    control_samples: tuple[Sample, ...] = ()
    stderr: str = ""

    @property
    def promising(self) -> bool:
        """It ran to the end, gave right output, and may be faster."""
        return self.outcome is Outcome.OK and self.estimate is not None and self.estimate.mean < 0

    @property
    def log_ratio(self) -> float | None:
        """What a search learns from it: None if these settings do not work."""
        comparable = self.outcome in (Outcome.OK, Outcome.PRUNED)
        return self.estimate.mean if comparable and self.estimate is not None else None

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON, without stderr; numbers that are not finite stay."""
        data: dict[str, Any] = plain.to_plain(replace(self, settings=_dumped(self.settings), stderr=""))
        return data

    @classmethod
    def from_dict(cls, data: object) -> "TrialRecord":
        """The inverse of to_dict, but for the settings, which stay plain data. Raises SearchError."""
        return plain.from_plain(cls, data, SearchError, "trial", finite=False)


@dataclass(frozen=True, slots=True)
class Finalist:
    """A candidate in the finals: fresh pairs from `rounds` separate starts. failure: why it dropped out, or "".

    starts: trimmed mean of each start's log-ratios. samples, control_samples: the blocks behind log_ratios, pair by
    pair.
    """

    settings: Any
    log_ratios: tuple[float, ...] = ()
    estimate: Estimate | None = None
    rounds: int = 0
    failure: str = ""
    samples: tuple[Sample, ...] = ()
    control_samples: tuple[Sample, ...] = ()
    starts: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Decision:
    """The end of a session.

    status: "verified": `settings` won fresh pairs in the finals. "default-confirmed": nothing is faster by more than
    the margin and the resolution; `settings` are the defaults. "candidate": cut short, the best that was seen, not
    raced again; or verified without a sure answer. "rejected": of a verification, slower, wrong or not running.
    ratio: time of `settings` over the time of the defaults, with its 95 % interval, from `pairs` pairs.
    resolution: the smallest relative difference this machine could show, or the margin assumed without an A/A test.
    samples: the log-ratios behind `ratio`. trials: candidates that were started. seconds: of all that, resumed parts
    included. history: every candidate, also those never started. null: the defaults against themselves, None if there
    was no time for it. importances: share of the differences that each knob explains, as far as the trials tell.
    """

    settings: Any
    status: Status
    reason: str
    ratio: float
    ci_low: float
    ci_high: float
    pairs: int
    resolution: float
    trials: int
    seconds: float
    seed: int
    control: Control
    samples: tuple[float, ...]
    finals: tuple[Finalist, ...]
    history: tuple[TrialRecord, ...]
    null: Estimate | None = None
    importances: Mapping[str, float] = field(default_factory=dict)
    machine: Machine | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON, without the history; numbers that are not finite stay."""
        finals = tuple(replace(each, settings=_dumped(each.settings)) for each in self.finals)
        data: dict[str, Any] = plain.to_plain(replace(self, settings=_dumped(self.settings), finals=finals, history=()))
        return data

    @classmethod
    def from_dict(cls, data: object, history: Sequence[TrialRecord]) -> "Decision":
        """The inverse of to_dict, but for settings, which stay plain data. Raises SearchError."""
        found = plain.from_plain(cls, data, SearchError, "decision", finite=False)
        return replace(found, history=tuple(history))


def _dumped(settings: Any) -> Any:
    return settings if isinstance(settings, Mapping) else knobs.dump(settings)


class Listener(Protocol):
    """A live view of a session. Called between measurements, never while a clock runs."""

    def on_machine(self, machine: Machine, budget_seconds: float) -> None: ...

    def on_control(self, control: Control, resolution: float) -> None: ...

    def on_trial_start(self, number: int, changes: Sequence[str]) -> None: ...

    def on_pair(self, number: int, log_ratios: Sequence[float]) -> None: ...

    def on_trial_end(self, record: TrialRecord) -> None: ...

    def on_final(self, finalist: Finalist, changes: Sequence[str]) -> None: ...

    def on_note(self, text: str) -> None: ...


class Silent:
    """The listener that shows nothing."""

    def on_machine(self, machine: Machine, budget_seconds: float) -> None:
        pass

    def on_control(self, control: Control, resolution: float) -> None:
        pass

    def on_trial_start(self, number: int, changes: Sequence[str]) -> None:
        pass

    def on_pair(self, number: int, log_ratios: Sequence[float]) -> None:
        pass

    def on_trial_end(self, record: TrialRecord) -> None:
        pass

    def on_final(self, finalist: Finalist, changes: Sequence[str]) -> None:
        pass

    def on_note(self, text: str) -> None:
        pass
