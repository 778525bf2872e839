"""From settings to providers; only here are secrets revealed, and nothing is opened.

`endpoints` imports no SDK, so that a command that only asks servers about themselves is quick.
"""
