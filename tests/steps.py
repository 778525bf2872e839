"""Counts the steps of some work: a measure that a busy machine leaves alone."""

import sys


def steps(work, *arguments):
    """Return how many functions *work* calls, those of C included."""
    counted = 0

    def count(_frame, event, _argument):
        nonlocal counted
        counted += event in {"call", "c_call"}

    sys.setprofile(count)
    try:
        work(*arguments)
    finally:
        sys.setprofile(None)
    return counted
