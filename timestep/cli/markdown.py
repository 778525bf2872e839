"""Shows Markdown on a terminal while it arrives.

A complete block is printed once. Only the block that is still arriving is drawn over, unless the
window became narrower: the terminal may have wrapped what is drawn, so it stays. The text
can be copied from the terminal: no padding, no hidden links, code unchanged.
"""

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import dropwhile
from typing import Any, cast

from markdown_it import MarkdownIt
from markdown_it.token import Token
from rich.console import Console, ConsoleOptions, Group, RenderResult
from rich.live_render import LiveRender
from rich.markdown import (
    ListItem,
    Markdown,
    MarkdownElement,
    TableElement,
    TextElement,
)
from rich.segment import Segment, SegmentLines
from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text
from rich.theme import Theme

from timestep.cli.terminal import printable

_THEME = Theme(
    {
        "markdown.code": "cyan",
        "markdown.h1": "bold underline",
        "markdown.h2": "bold",
        "markdown.h3": "bold italic",
        "markdown.h4": "italic",
        "markdown.h5": "italic",
        "markdown.h6": "italic",
        "markdown.hr": "dim",
        "markdown.block_quote": "italic",
        "markdown.item.bullet": "none",
        "markdown.item.number": "none",
        "markdown.table.border": "dim",
        "markdown.table.header": "bold",
    }
)
_SECONDS_A_FRAME = 0.05
_SHARE = 5
"""Drawing takes at most one part in this many of the time, however long a block is."""
_SPARE_LINES = 2
"""Lines of the terminal left free, so that drawing over never scrolls."""


class MarkdownStream:
    """Shows Markdown on the terminal as it is fed. *columns* returns the most columns of a line."""

    def __init__(self, columns: Callable[[], int]) -> None:
        self._columns = columns
        self._console = Console(
            file=sys.stdout,  # agents run with another stdout
            theme=_THEME,
            width=columns(),
            highlight=False,
            markup=False,
            emoji=False,
        )
        self._drawn: LiveRender | None = None
        self._is_left = False
        self._rest = ""
        self._has_block = False
        self._draws_at = 0.0

    def feed(self, text: str) -> None:
        """Show more *text*."""
        self._rest += printable(text)
        began = time.monotonic()
        if began < self._draws_at:
            return
        self._fit()
        complete, self._rest = split_complete(self._rest)
        if complete:
            self._erase()
            self._print(split_blocks(complete))
        self._draw()
        now = time.monotonic()
        self._draws_at = now + max(_SECONDS_A_FRAME, _SHARE * (now - began))

    def end(self) -> None:
        """Show the rest. What is fed afterwards is a new text."""
        self._fit()
        self._erase()
        self._print(split_blocks(self._rest))
        self._rest, self._has_block = "", False

    def _fit(self) -> None:
        """Follow the width of the window. Leave what is drawn if the window became narrower."""
        columns = self._columns()
        if self._drawn is not None and columns < self._console.width:
            self._console.line()
            self._drawn, self._is_left = None, True
        self._console.width = columns

    def _print(self, blocks: Iterable[list[Token]]) -> None:
        for block in blocks:
            if self._has_block:
                self._console.print()
            self._has_block = True
            if block[0].type in _CODE:
                # The terminal wraps long lines itself, and copies them in one piece.
                self._console.print(_code(block[0]), soft_wrap=True)
            else:
                self._console.print(Block(block))

    def _draw(self) -> None:
        blocks = split_blocks(self._rest)
        if not blocks or self._is_left or not self._console.is_terminal:
            return
        parts = [part for block in blocks for part in ("", Block(block))]
        shown = Group(*parts[0 if self._has_block else 1 :])
        most = max(self._console.height - _SPARE_LINES, 1)
        with self._console:
            if self._drawn is not None:
                self._console.control(self._drawn.position_cursor())
            lines = self._console.render_lines(shown, pad=False)[-most:]
            self._drawn = LiveRender(SegmentLines(lines, new_lines=True))
            self._console.print(self._drawn, end="")

    def _erase(self) -> None:
        if self._drawn is not None:
            self._console.control(self._drawn.position_cursor())
        self._drawn, self._is_left = None, False


def split_blocks(text: str) -> list[list[Token]]:
    """Return the top-level blocks of *text*, each as its tokens."""
    blocks: list[list[Token]] = []
    for token in _PARSER.parse(text):
        if token.level == 0 and token.nesting >= 0:
            blocks.append([])
        if token.children is not None:
            token.children = list(_inline(token.children))
        blocks[-1].append(token)
    return blocks


def split_complete(text: str) -> tuple[str, str]:
    """Split *text* into the blocks that later lines can no longer change, and the rest."""
    lines = text.split("\n")[:-1]
    starts = [0] + [
        token.map[0]
        for token in _PARSER.parse("\n".join(lines))
        if token.level == 0 and token.nesting >= 0 and token.map
    ]
    end = sum(len(line) + 1 for line in lines[: starts[-1]])
    return text[:end], text[end:]


# No HTML: rich would leave it out. No link definitions: they are not blocks and would not be shown.
# No entities: the text stays as the model wrote it.
_PARSER = MarkdownIt("commonmark").enable(["strikethrough", "table"])
_PARSER.disable(["reference", "entity", "html_block", "html_inline"])


def _inline(tokens: Sequence[Token]) -> Iterator[Token]:
    """Yield *tokens* with their line breaks, and with the URLs of links and images as text."""
    link, words = "", ""
    for token in tokens:
        words += token.content
        match token.type:
            case "softbreak":
                yield Token("hardbreak", "br", 0)
            case "link_open":
                link, words = str(token.attrs.get("href", "")), ""
            case "link_close":
                if link not in {words, f"mailto:{words}"}:
                    yield _text(f" ({link})")
            case "image":
                yield _text(f"{token.content} ({token.attrs.get('src', '')})")
            case _:
                yield token


def _text(words: str) -> Token:
    return Token("text", "", 0, content=words)


class Block(Markdown):
    """One block of Markdown, given as tokens. Its lines do not end in spaces."""

    def __init__(self, tokens: list[Token]) -> None:
        super().__init__("")
        self.parsed = tokens

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield the lines of the block."""
        rendered = super().__rich_console__(console, options)
        lines = list(Segment.split_lines(console.render(Group(*cast("Any", rendered)), options)))
        while lines and _is_blank(lines[-1]):
            lines.pop()
        for line in dropwhile(_is_blank, lines):
            yield from _stripped(line)
            yield Segment.line()


def _is_blank(line: list[Segment]) -> bool:
    return not any(segment.text.strip() for segment in line)


def _stripped(line: list[Segment]) -> list[Segment]:
    rest = list(dropwhile(lambda segment: not segment.text.strip(), reversed(line)))
    if not rest:
        return []
    last = rest[0]
    return [*reversed(rest[1:]), Segment(last.text.rstrip(), last.style)]


class _Heading(TextElement):
    """A heading, aligned to the left."""

    @classmethod
    def create(cls, markdown: Markdown, token: Token) -> "_Heading":
        return cls(token.tag)

    def __init__(self, tag: str) -> None:
        self.style_name = f"markdown.{tag}"

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield self.text


class _CodeBlock(MarkdownElement):
    """Code between its fences."""

    @classmethod
    def create(cls, markdown: Markdown, token: Token) -> "_CodeBlock":
        return cls(token)

    def __init__(self, token: Token) -> None:
        self._code = _code(token)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield self._code


class _ListItem(ListItem):
    """A list item after its Markdown mark."""

    def render_bullet(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield the lines of an item without a number."""
        return self._render("- ", console, options)

    def render_number(
        self, console: Console, options: ConsoleOptions, number: int, last_number: int
    ) -> RenderResult:
        """Yield the lines of an item with a number."""
        return self._render(f"{number:>{len(str(last_number - 1))}}. ", console, options)

    def _render(self, mark: str, console: Console, options: ConsoleOptions) -> RenderResult:
        below = options.update(width=max(options.max_width - len(mark), 1))
        for number, line in enumerate(console.render_lines(self.elements, below, pad=False)):
            yield Segment(" " * len(mark) if number else mark)
            yield from line
            yield Segment.line()


class _Table(TableElement):
    """A table that breaks long words instead of cutting them."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for table in super().__rich_console__(console, options):
            if isinstance(table, Table):
                for column in table.columns:
                    column.overflow = "fold"
            yield table


_CODE = ("fence", "code_block")


def _code(token: Token) -> Text:
    """Return the code of *token* in the terminal's colours, between its fences."""
    language = token.info.split()[0] if token.info.split() else ""
    syntax = Syntax("", language or "text", theme="ansi_dark", background_color="default")
    code = syntax.highlight(token.content)
    code.rstrip()
    fence = token.markup or "```"
    return Text("\n").join([Text(f"{fence}{token.info}", "dim"), code, Text(fence, "dim")])


Block.elements = {
    **Markdown.elements,
    "heading_open": _Heading,
    "fence": _CodeBlock,
    "code_block": _CodeBlock,
    "list_item_open": _ListItem,
    "table_open": _Table,
}
