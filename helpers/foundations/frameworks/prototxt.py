"""Caffe's text format: nested messages, comments, strings, numbers, words, repeated fields (Jia et al. 2014, arXiv:1408.5093).

The format is the text form of protocol buffers. `parse` reads it, `print_message` writes it, `check` holds it against a schema,
and every complaint names a line and a column.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

TOKEN = re.compile(
    r"""(?P<blank>(?:[ \t\r\n]|\#[^\n]*)+)
      | (?P<text>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')
      | (?P<number>[-+]?(?:0[xX][0-9a-fA-F]+|(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?[fF]?)(?![\w.]))
      | (?P<word>-?[A-Za-z_]\w*)
      | (?P<mark>[{}<>:;,\[\]])""",
    re.VERBOSE,
)
ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "\\": "\\", "'": "'", '"': '"', "a": "\a", "b": "\b", "f": "\f", "v": "\v"}
CLOSING = {"{": "}", "<": ">"}


class PrototxtError(ValueError):
    """A fault in a text, with the line and the column where it stands, counted from 1."""

    def __init__(self, message: str, line: int, column: int) -> None:
        super().__init__(f"line {line}, column {column}: {message}")
        self.line, self.column = line, column


class Word(str):
    """A word without quotes: the name of a choice, as MAX, or true."""


@dataclass
class Field:
    """A name and its value; equality leaves out where it stands."""

    name: str
    value: Any
    line: int = field(default=0, compare=False)
    column: int = field(default=0, compare=False)


@dataclass
class Message:
    """Fields in the order of the text; a name may come more than once."""

    fields: list[Field] = field(default_factory=list)

    def all(self, name: str) -> list[Any]:
        """Every value of a repeated field."""
        return [entry.value for entry in self.fields if entry.name == name]

    def get(self, name: str, default: Any = None) -> Any:
        """The value of a field, or `default`."""
        return next((entry.value for entry in self.fields if entry.name == name), default)

    def field(self, name: str) -> Field:
        """The field itself, which knows its place."""
        return next(entry for entry in self.fields if entry.name == name)

    def __contains__(self, name: str) -> bool:
        return any(entry.name == name for entry in self.fields)


@dataclass
class Token:
    """A piece of text, its kind, and where it begins."""

    kind: str
    text: str
    line: int
    column: int


def tokens(text: str) -> Iterator[Token]:
    """The pieces of a text, and an `end` after the last one. Raises `PrototxtError` for a character that begins none."""
    at, line, start = 0, 1, 0  # start: where the line begins
    while at < len(text):
        match = TOKEN.match(text, at)
        if match is None:
            what = "a quotation mark whose line does not close it" if text[at] in "\"'" else f"the character {text[at]!r}"
            raise PrototxtError(f"{what}, which begins nothing of this format", line, at - start + 1)
        if match.lastgroup != "blank":
            yield Token(match.lastgroup, match[0], line, at - start + 1)
        if breaks := match[0].count("\n"):
            line, start = line + breaks, match.start() + match[0].rindex("\n") + 1
        at = match.end()
    yield Token("end", "the end of the text", line, at - start + 1)


def parse(text: str) -> Message:
    """Read a text. Raises `PrototxtError` where it is broken."""
    return Parser(text).message(closing=None)


class Parser:
    """One token ahead is all that the format needs."""

    def __init__(self, text):
        self.tokens = tokens(text)
        self.next = next(self.tokens)

    def take(self):
        token = self.next
        self.next = next(self.tokens, token)
        return token

    def message(self, closing, opened=None):
        """Fields up to the closing bracket, or to the end."""
        fields = []
        while self.next.text != closing or self.next.kind != "mark":
            if self.next.kind == "end":
                if closing is None:
                    return Message(fields)
                place = f"line {opened.line}, column {opened.column}"
                self.refuse(f"{closing!r} for the bracket of {place}")
            fields += self.field()
        self.take()
        return Message(fields)

    def field(self):
        """`name: value`, `name { … }` or `name: [value, …]`."""
        if self.next.kind != "word" or self.next.text[0] == "-":
            self.refuse("the name of a field")
        name = self.take()
        colon = self.next.text == ":"
        if colon:
            self.take()
        if self.next.text == "[" and self.next.kind == "mark":
            values = self.several(messages=not colon)
        elif self.next.kind == "mark" and self.next.text in CLOSING:
            values = [self.nested()]
        elif colon:
            values = [self.scalar()]
        else:
            self.refuse(f"':' or '{{' after {name.text!r}")
        if self.next.kind == "mark" and self.next.text in ",;":
            self.take()
        return [Field(name.text, v, name.line, name.column) for v in values]

    def nested(self):
        opened = self.take()
        return self.message(CLOSING[opened.text], opened)

    def several(self, messages):
        """`[1, 2]`: several values of one field; without a colon they are
        messages."""
        self.take()
        values = []
        while self.next.text != "]":
            if values and self.take().text != ",":
                self.refuse("',' or ']'")
            nests = self.next.text in CLOSING
            if messages and not nests:
                self.refuse("'{'")
            values.append(self.nested() if nests else self.scalar())
            if self.next.text not in (",", "]"):
                self.refuse("',' or ']'")
        self.take()
        return values

    def scalar(self):
        """A number, a word, or strings, which join."""
        if self.next.kind == "number":
            return number(self.take().text)
        if self.next.kind == "word":
            return Word(self.take().text)
        if self.next.kind != "text":
            self.refuse("a value")
        parts = []
        while self.next.kind == "text":
            parts.append(unquote(self.take()))
        return "".join(parts)

    def refuse(self, wanted):
        found = self.next
        shown = found.text if found.kind == "end" else repr(found.text)
        raise PrototxtError(f"{wanted} should stand here, not {shown}",
                            found.line, found.column)


def number(text: str) -> int | float:
    """The value of a number's text: hexadecimal, octal (a leading 0), decimal, or with a fraction."""
    if re.fullmatch(r"[-+]?0[xX][0-9a-fA-F]+", text):
        return int(text, 16)
    if re.fullmatch(r"[-+]?0[0-7]+", text):
        return int(text, 8)
    return int(text) if re.fullmatch(r"[-+]?\d+", text) else float(text.rstrip("fF"))


def unquote(token: Token) -> str:
    """The characters of a string's text. Raises `PrototxtError` for an escape that the format lacks."""

    def character(match: re.Match) -> str:
        code = match[1]
        if code[0] in "01234567":
            return chr(int(code, 8))
        if code[0] == "x" and len(code) > 1:
            return chr(int(code[1:], 16))
        if code not in ESCAPES:
            raise PrototxtError(f"the escape {match[0]!r} is none of the format", token.line, token.column + 1 + match.start())
        return ESCAPES[code]

    return re.sub(r"\\([0-7]{1,3}|x[0-9a-fA-F]{1,2}|.)", character, token.text[1:-1])


def print_message(message: Message, indent: int = 0) -> str:
    """The text of a message, a field to a line; `parse` reads it back."""
    lines = []
    for entry in message.fields:
        pad = "  " * indent
        if isinstance(entry.value, Message):
            lines += [f"{pad}{entry.name} {{", print_message(entry.value, indent + 1), f"{pad}}}"]
        else:
            lines.append(f"{pad}{entry.name}: {print_scalar(entry.value)}")
    return "\n".join(line for line in lines if line)


def print_scalar(value: Any) -> str:
    """The text of a number, a word or a string."""
    if isinstance(value, Word) or not isinstance(value, str):
        return str(value) if isinstance(value, Word) else repr(value)
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + re.sub(r"[\x00-\x1f\x7f]", lambda m: f"\\{ord(m[0]):03o}", escaped) + '"'


def check(message: Message, schema: dict[str, Any], name: str) -> None:
    """Hold a message against its schema: names, kinds of values, and what may be repeated.

    A schema maps names of fields to `str`, `int`, `float`, `bool`, a tuple of words, or another schema; in a list, where the
    field may be repeated. Raises `PrototxtError` for the first field that is not of that form.
    """
    seen = set()
    for entry in message.fields:
        kind = schema.get(entry.name)
        if kind is None:
            near = get_close_matches(entry.name, schema, 1)
            hint = f"did you mean {near[0]}?" if near else f"it has {', '.join(schema)}"
            raise PrototxtError(f"{name} has no field {entry.name!r}: {hint}", entry.line, entry.column)
        if not isinstance(kind, list) and entry.name in seen:
            raise PrototxtError(f"{entry.name} stands twice in {name}: keep one", entry.line, entry.column)
        seen.add(entry.name)
        kind = kind[0] if isinstance(kind, list) else kind
        if isinstance(kind, dict) and isinstance(entry.value, Message):
            check(entry.value, kind, entry.name)
        elif not fits(entry.value, kind):
            wanted = " or ".join(kind) if isinstance(kind, tuple) else getattr(kind, "__name__", "a message in brackets")
            shown = "a message" if isinstance(entry.value, Message) else print_scalar(entry.value)
            raise PrototxtError(f"{entry.name} is {shown}: it takes {wanted}", entry.line, entry.column)


def fits(value: Any, kind: Any) -> bool:
    """Whether a value is of the kind that a schema names."""
    if isinstance(kind, dict) or isinstance(value, Message):
        return False
    if isinstance(kind, tuple):
        return isinstance(value, Word) and value in kind
    if kind is bool:
        return isinstance(value, Word) and value in ("true", "false")
    if kind is str:
        return isinstance(value, str) and not isinstance(value, Word)
    return isinstance(value, int) or kind is float and isinstance(value, float)
