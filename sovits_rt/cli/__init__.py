"""The command line: parse, one library call, print. The only package here that prints.

Exit codes: 0 done, 1 a file, text, recording or profile is not usable, 2 wrong usage, 130 interrupted.
"""

from sovits_rt.cli.main import main

__all__ = ["main"]
