"""What a session writes down, what it decides, and who may watch. Plain data and a protocol."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from autotune.duel import Control
from autotune.machine import Machine
from autotune.measure import Gate, Outcome
from autotune.stats import Estimate

Status = Literal["verified", "default-confirmed", "candidate"]


@dataclass(frozen=True, slots=True)
class TrialRecord:
    """One candidate: where it came from, how it ended, and every pair.

    changes: what differs from the default settings, as text. estimate: None if no pair was completed.
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

    @property
    def promising(self) -> bool:
        """It ran to the end, gave right output, and may be faster."""
        return self.outcome is Outcome.OK and self.estimate is not None and self.estimate.mean < 0


@dataclass(frozen=True, slots=True)
class Finalist:
    """A candidate in the finals: fresh pairs from `rounds` separate starts. failure: why it dropped out, or ""."""

    settings: Any
    log_ratios: tuple[float, ...] = ()
    estimate: Estimate | None = None
    rounds: int = 0
    failure: str = ""


@dataclass(frozen=True, slots=True)
class Decision:
    """The end of a session.

    status: "verified": `settings` won fresh pairs in the finals. "default-confirmed": nothing is faster by more than
    the margin and the resolution; `settings` are the defaults. "candidate": cut short; the best that was seen, not
    raced again. ratio: time of `settings` over the time of the defaults, with its 95 % interval, from `pairs` pairs.
    resolution: the smallest relative difference this machine could show, or the margin assumed without an A/A test.
    samples: the log-ratios behind `ratio`.
    trials: candidates that were started. history: every candidate, also those never started.
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
