"""Turns settings into providers. Reveals secrets, which no other package does. Opens nothing.

`endpoints` imports no SDK, so that a command that only asks servers about themselves is quick.
"""
