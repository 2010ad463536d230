"""`python -m sovits_rt` is `sovits-rt`."""

from sovits_rt.cli import main

main()
