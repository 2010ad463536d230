"""Every error that autotune raises on purpose.

AutotuneError
├── KnobError               a setting is unknown, or its value is not allowed here
│   └── RejectedSettings    each value is allowed, but not all of them together on this machine
├── ProfileError            a profile file is damaged, of another version, or says something it may not
├── ProbeError              a recorded machine can't be read back (probing itself never raises)
├── TrialError              a trial could not be run or its answer could not be understood
└── SearchError             a search can't start or go on

Each message is one sentence that names what came, what was expected and what to do.
"""


class AutotuneError(Exception):
    """Base of all; str(error) is the sentence shown to a user."""


class KnobError(AutotuneError):
    pass


class RejectedSettings(KnobError):  # noqa: N818  a rejected suggestion is a normal answer, not a fault
    """Raised by `knobs.suggest`, with what was suggested and why it can't work.

    settings: the complete settings that were built. reason: one sentence.
    """

    def __init__(self, settings: object, reason: str) -> None:
        super().__init__(reason)
        self.settings = settings
        self.reason = reason


class ProfileError(AutotuneError):
    pass


class ProbeError(AutotuneError):
    pass


class TrialError(AutotuneError):
    pass


class SearchError(AutotuneError):
    pass
