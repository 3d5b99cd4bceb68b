"""Tokens of the printed IRs, a cursor over them, and how attributes are written.

Line breaks and indentation are free when reading, ``;`` may separate statements, and ``#`` starts
a comment: printed IR may be edited by hand.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from snipjit.errors import ParseError
from snipjit.ir.element_types import ELEMENT_TYPES

_TOKEN = re.compile(r'\s+|#[^\n]*|;|"[^"\n]*"|[{}\[\]()=,:]|[^\s{}\[\]()=,:;#"]+')
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$")
_PUNCTUATION = frozenset("{}[]()=,:")
_WORDS = {
    "true": True,
    "false": False,
    "none": None,
    "inf": math.inf,
    "-inf": -math.inf,
    "nan": math.nan,
}


def print_attrs(attrs: Mapping[str, Any]) -> str:
    """Attributes with a space in front, ``{name=value, …}``; nothing if there are none."""
    inside = ", ".join(f"{name}={print_attr(value)}" for name, value in attrs.items())
    return f" {{{inside}}}" if inside else ""


def print_attr(value: Any) -> str:
    """One attribute: a number, a name, a word, or a tuple of them."""
    if isinstance(value, tuple | list):
        return f"({', '.join(print_attr(item) for item in value)})"
    if value is None or isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        plain = read_atom(value) is value and re.fullmatch(r'[^\s{}\[\]()=,:;#"]+', value)
        return value if plain else f'"{value}"'
    return repr(value)


def read_atom(text: str) -> Any:
    """The meaning of an unquoted attribute: a number, a word of the grammar, or a name."""
    if text in _WORDS:
        return _WORDS[text]
    if not _NUMBER.match(text):
        return text
    return int(text) if text.lstrip("+-").isdigit() else float(text)


@dataclass(frozen=True)
class Token:
    """A piece of text and the line (from 1) it stands on."""

    text: str
    line: int


class Tokens:
    """A cursor over the tokens of a text; every error names the line and shows it."""

    def __init__(self, text: str) -> None:
        self.source = text.splitlines()
        self.tokens = list(self._read(text))
        self.position = 0

    def _read(self, text: str) -> Iterator[Token]:
        position, line = 0, 1
        while position < len(text):
            match = _TOKEN.match(text, position)
            if match is None:
                raise self._error(line, f"cannot read {text[position]!r}")
            found = match.group()
            if found.strip() and found[0] not in "#;":
                yield Token(found, line)
            line += found.count("\n")
            position = match.end()

    def _error(self, line: int, message: str) -> ParseError:
        shown = self.source[line - 1].strip() if line <= len(self.source) else ""
        return ParseError(f"line {line}: {message}\n  {shown}")

    def expected(self, what: str) -> ParseError:
        """The error that something else stands at the cursor."""
        if self.position < len(self.tokens):
            token = self.tokens[self.position]
            return self._error(token.line, f"expected {what}, found {token.text!r}")
        return self._error(max(1, len(self.source)), f"expected {what}, found the end")

    def refuse(self, message: str) -> ParseError:
        """The error that what stands before the cursor is not allowed."""
        return self._error(self.tokens[max(0, self.position - 1)].line, message)

    @property
    def done(self) -> bool:
        """Whether all tokens are read."""
        return self.position == len(self.tokens)

    def peek(self) -> str:
        """The next token, or nothing at the end."""
        return "" if self.done else self.tokens[self.position].text

    def next(self) -> Token:
        """Step over a token."""
        self.position += 1
        return self.tokens[self.position - 1]

    def accept(self, *texts: str) -> bool:
        """Step over the tokens if they come next."""
        here = self.tokens[self.position : self.position + len(texts)]
        found = tuple(token.text for token in here) == texts
        self.position += len(texts) if found else 0
        return found

    def expect(self, text: str) -> None:
        """Step over a token that must come next."""
        if not self.accept(text):
            raise self.expected(repr(text))

    def word(self, what: str, prefix: str = "") -> str:
        """A name with the given first character (which is dropped); ``what`` is for the error."""
        text = self.peek()
        plain = text and text not in _PUNCTUATION and not text.startswith(("%", "@"))
        if not (text.startswith(prefix) and len(text) > 1 if prefix else plain):
            raise self.expected(what)
        return self.next().text[len(prefix) :]

    def integer(self, what: str) -> int:
        """A whole number that is not negative."""
        if not self.peek().isdecimal():
            raise self.expected(what)
        return int(self.next().text)

    def dtype(self) -> str:
        """An element type."""
        if self.peek() not in ELEMENT_TYPES:
            raise self.expected(f"an element type ({', '.join(ELEMENT_TYPES)})")
        return self.next().text

    def axes(self) -> tuple[str, ...]:
        """``[a b …]``."""
        self.expect("[")
        axes = []
        while not self.accept("]"):
            axes.append(self.word("an axis or ']'"))
        return tuple(axes)

    def dims(self) -> tuple[tuple[str, ...], ...]:
        """``[a][b c]…``: each a product of axes."""
        dims = []
        while self.peek() == "[":
            dims.append(self.axes())
        return tuple(dims)

    def attrs(self) -> dict[str, Any]:
        """``{name=value, …}``; nothing where no brace stands."""
        attrs: dict[str, Any] = {}
        if not self.accept("{"):
            return attrs
        while not self.accept("}"):
            name = self.word("an attribute or '}'")
            self.expect("=")
            attrs[name] = self.attr()
            if self.peek() != "}":
                self.expect(",")
        return attrs

    def attr(self) -> Any:
        """One attribute: a number, a name, a word, or a tuple of them."""
        if self.accept("("):
            items = []
            while not self.accept(")"):
                items.append(self.attr())
                if self.peek() != ")":
                    self.expect(",")
            return tuple(items)
        if self.done or self.peek() in _PUNCTUATION:
            raise self.expected("a value")
        text = self.next().text
        return text[1:-1] if text[0] == '"' else read_atom(text)
