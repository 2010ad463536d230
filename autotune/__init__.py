"""Probe machines, search settings, measure, decide, store profiles. Knows nothing of speech."""
