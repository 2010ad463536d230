"""How well is it understood, and how near is it to a teacher? Word errors by a recogniser, and measures of sound.

US English only, since the recogniser is. Imports no torch: an engine is handed in. Libraries of the extra `quality`
are imported when they are needed.
"""
