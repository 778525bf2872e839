"""The characters that a terminal acts on, or that change the direction of text. Pure."""

import re

CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
"""All of them but the line break and the tab."""
