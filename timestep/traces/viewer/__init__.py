"""Recorded runs in a browser: a page, served on loopback or written into one file."""
