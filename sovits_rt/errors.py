"""Every error that sovits-rt raises on purpose.

SovitsError
├── CheckpointError     a model file is missing, damaged, of another kind, or does not fit its partner
│   └── UnsafeCheckpointError   a model file asks to run code
├── TextError           a text can't be spoken as asked
├── AudioError          a recording can't be read or used, or a file can't be written
├── RequestError        a value of a request is out of range
├── OutOfMemoryError    not even the smallest piece of work fits into the memory
├── SettingsError       a knob or profile does not fit this machine or this version
├── ExportError         an exported model does not compute what the network computes
└── MissingExtraError   an optional package is needed; the message says what to install

Each message is one sentence that names what came, what was expected and what to do. The command line prints it and
exits with 1.
"""


class SovitsError(Exception):
    """Base of all; str(error) is the sentence shown to a user."""


class CheckpointError(SovitsError):
    pass


class UnsafeCheckpointError(CheckpointError):
    pass


class TextError(SovitsError):
    pass


class AudioError(SovitsError):
    pass


class RequestError(SovitsError):
    pass


class OutOfMemoryError(SovitsError):
    pass


class SettingsError(SovitsError):
    pass


class ExportError(SovitsError):
    pass


class MissingExtraError(SovitsError):
    pass
