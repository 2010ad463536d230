"""sovits-rt: GPT-SoVITS text-to-speech that measures how this machine runs it best."""

__version__ = "0.1.0"
