"""The native backend's own code: step.cpp, what builds it, and what feeds it."""
