"""Recordings in, sound files out: reading, resampling, features of a reference, joining, writing."""
