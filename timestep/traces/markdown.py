"""Markdown as the words that it shows. Pure."""

import re


def plain_words(markdown: str) -> str:
    """Return the words of *markdown*, without the marks that a list does not show.

    A mark counts only where Markdown reads it as one: ``2 * 3``, ``**kwargs`` and ``__init__`` stay.
    """
    if not _SIGN.search(markdown):
        return markdown
    for mark, words in _MARKS:
        markdown = mark.sub(words, markdown)
    return markdown


_SIGN = re.compile(r"[`~#>\[*]")
"""A sign that every mark has."""

_EMPHASIS = re.compile(r"(?<![\w*])(\*{1,3})(?=[^\s*])([^*\n]*[^\s*])\1(?![\w*])")
_MARKS = (
    (re.compile(r"^[ ]{0,3}(?:```|~~~)[^`\n]*$", re.MULTILINE), ""),  # the fences of code
    (re.compile(r"^[ ]{0,3}#{1,6}[ \t]+(.*?)[ \t#]*$", re.MULTILINE), r"\1"),  # headings
    (re.compile(r"^[ ]{0,3}>[ \t]?", re.MULTILINE), ""),  # quotations
    (re.compile(r"(?<!\w)!?\[([^\[\]\n]+)\]\([^()\s]*\)"), r"\1"),  # links and images
    (re.compile(r"(?<![`\\])(`{1,2})(?!`)([^`\n]+)\1(?!`)"), r"\2"),  # code in a line
    (_EMPHASIS, r"\2"),
    (_EMPHASIS, r"\2"),  # around the other
)
