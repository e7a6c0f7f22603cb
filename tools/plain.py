"""Turn the MyST Markdown of a notebook into the plain Markdown that Colab, which knows no role and no directive, can show."""

import re
from dataclasses import dataclass, field
from html import unescape
from pathlib import Path
from posixpath import dirname, join, normpath, splitext

FENCE = re.compile(r"^(?P<indent>\s*)(?P<fence>:{3,}|`{3,}|~{3,})(?:\{(?P<name>[\w:-]+)\}[ \t]*(?P<argument>.*)|.*)$")
OPTION = re.compile(r"^:(?P<key>[\w-]+):[ \t]*(?P<value>.*)$")
SILENT = re.compile(r"^(?:\([^()\s]+\)=|%.*|\+\+\+.*|\{[#.][^{}]*\})$")  # targets, comments, breaks, attributes
PLAY = re.compile(r'<div class="play"[^>]*>(?P<still>.*?)</div>', re.DOTALL)
INLINE = re.compile(
    r"""
      (?P<role> \{(?P<name>[a-z][\w:+.-]*)\} (?P<ticks>`+)(?P<body>.+?)(?P=ticks)(?!`) )
    | (?P<code> (?P<quote>`+)(?!`).+?(?<!`)(?P=quote)(?!`) )
    | (?P<block> \$\$(?P<formula>.+?)\$\$ (?:[ \t]*\((?P<label>[\w:-]+)\))? )
    | (?P<math> (?<![\\$])\$(?![\s$])[^$]+?(?<![\s\\])\$ )
    | (?P<link> (?P<image>!?)\[(?P<words>[^\[\]]*)\]\((?P<target>[^()\s]+)\) )
    """,
    re.DOTALL | re.VERBOSE,
)
SOLUTION = "#### Solution"
SOLVED = "<!-- the solution ends here -->"
ADMONITIONS = {"attention", "caution", "danger", "error", "hint", "important", "note", "seealso", "tip", "warning"}
SHOWN_AS_CODE = {"code", "func", "class", "meth", "mod", "attr", "obj", "exc", "data", "file", "command", "program"}


@dataclass
class Labels:
    """What roles can point at, over all pages: label to page and to the words that stand for it."""

    titles: dict[str, str] = field(default_factory=dict)  # page: its title
    targets: dict[str, tuple[str, str]] = field(default_factory=dict)  # label: page, words
    works: dict[str, tuple[str, str]] = field(default_factory=dict)  # BibTeX key: authors, year

    def read(self, page: str, cells: list[str]) -> None:
        """Enter a page's title, labelled headings and exercises, which are numbered through the book as on the site."""
        text = "\n\n".join(cells)
        self.titles[page] = re.search(r"^# (.+)$", text, re.MULTILINE)[1]
        for label, words in re.findall(r"^\(([^()\s]+)\)=\n+#+ (.+)$", text, re.MULTILINE):
            self.targets[label] = page, words
        starts = re.findall(r"^:{3,}\{exercise(?:-start)?\}.*\n(?::(?!label).*\n)*:label: *(\S+)", text, re.MULTILINE)
        for label in starts:
            number = sum(words.startswith("Exercise ") for _, words in self.targets.values()) + 1
            self.targets[label] = page, f"Exercise {number}"

    def cite(self, bibliography: Path) -> None:
        """Enter the works of a BibTeX file."""
        from pybtex.database import parse_file
        from pybtex.richtext import Text

        for key, entry in parse_file(str(bibliography)).entries.items():
            people = entry.persons.get("author") or entry.persons.get("editor") or []
            names = [str(Text.from_latex(" ".join(p.prelast_names + p.last_names))) for p in people] or [
                entry.fields["title"]
            ]
            several = len(names) > 2 or names[-1] == "others"
            self.works[key] = f"{names[0]} et al." if several else " and ".join(names), entry.fields["year"]


@dataclass
class Plain:
    """The converter of one page; `site` is the address of the published site, "" where there is none."""

    page: str
    labels: Labels
    site: str = ""
    equations: dict[str, int] = field(default_factory=dict)

    def convert(self, text: str) -> str:
        """The plain form of a cell. Raises `ValueError` for a role or directive that has none."""
        blocks, lines, chunk = [], text.split("\n"), []

        def flush() -> None:
            blocks.append(self._inline("\n".join(chunk)))
            chunk.clear()

        while lines:
            line = lines.pop(0)
            match = FENCE.match(line)
            if match is None:
                if not SILENT.match(line):
                    chunk.append(line)
                continue
            flush()
            body = _until_closed(match["fence"], lines)
            if match["name"]:
                made = self._directive(match["name"], match["argument"].strip(), body)
                blocks.append("\n" + "\n".join(match["indent"] + part for part in made.split("\n")) + "\n")
            else:
                blocks.append("\n".join([line, *body, match["indent"] + match["fence"]]))
        flush()
        return re.sub(r"\n{3,}", "\n\n", "\n".join(blocks)).strip("\n")

    def number_equations(self, cells: list[str]) -> None:
        """Number the labelled equations of the page, so that a reference may stand before its equation."""
        for match in INLINE.finditer("\n\n".join(cells)):
            if match["label"]:
                self.equations[match["label"]] = len(self.equations) + 1

    def link(self, words: str, page: str, anchor: str = "") -> str:
        """`words`, linked to a page of the site where there is one."""
        return f"[{words}]({self.site}{page}.html{anchor})" if self.site else words

    def _directive(self, name: str, argument: str, body: list[str]) -> str:
        options = {}
        while body and (match := OPTION.match(body[0].strip())):
            options[match["key"]] = match["value"]
            body = body[1:]
        if name == "math":
            return "\n".join(["$$", *body, "$$"])
        if name in ("code", "code-block"):
            return "\n".join([f"```{argument}", *body, "```"])
        inner = self.convert("\n".join(body))
        if name in ADMONITIONS or name in ("admonition", "dropdown"):
            title = self._inline(argument) or name.capitalize()
            if name == "dropdown" or "dropdown" in options.get("class", ""):
                return _folded(title, inner)
            return "\n".join(f"> {line}".rstrip() for line in [f"**{title}**", "", *inner.split("\n")])
        if name in ("exercise", "exercise-start"):
            title = f" ({self._inline(argument)})" if argument else ""
            return f"### {self._target(options.get('label'))[1]}{title}\n\n{inner}"
        if name in ("solution", "solution-start"):
            end = "" if name.endswith("start") else SOLVED
            return f"{SOLUTION} of {self._target(argument)[1].lower()}\n\n{inner}\n\n{end}"
        if name in ("exercise-end", "solution-end"):
            return SOLVED if name == "solution-end" else ""
        raise self._unknown(f"directive {{{name}}}")

    def _inline(self, text: str) -> str:
        return PLAY.sub(self._play, INLINE.sub(self._span, text))

    def _span(self, match: re.Match) -> str:
        if match["role"]:
            return self._role(match["name"], match["body"].strip())
        if match["label"]:
            return f"$${match['formula'].rstrip()}\n\\tag{{{self.equations[match['label']]}}}\n$$"
        if match["link"]:
            return self._link(match["image"], self._inline(match["words"]), match["target"])
        return match[0]

    def _role(self, name: str, body: str) -> str:
        match = re.fullmatch(r"(.+?)\s*<([^<>]+)>", body, re.DOTALL)
        words, target = match.groups() if match else (None, body)
        if name.startswith("cite"):
            works = [self._work(key.strip()) for key in body.split(",")]
            if name.startswith("cite:t"):
                return " and ".join(f"{authors} ({self._reference(year)})" for authors, year in works)
            return f"({'; '.join(self._reference(f'{authors}, {year}') for authors, year in works)})"
        if name == "doc":
            page = self._absolute(target)
            if words is None and page not in self.labels.titles:
                raise self._unknown(f"page {target!r}")
            return self.link(words or self.labels.titles[page], page)
        if name == "ref":
            page, title = self._target(target)
            return self.link(words or title, page, f"#{target.lower().replace('_', '-')}")
        if name == "eq":
            if target not in self.equations:
                raise self._unknown(f"equation {target!r} on this page")
            return f"({self.equations[target]})"
        if name == "math":
            return f"${body}$"
        if name in ("sub", "sup", "kbd"):
            return f"<{name}>{body}</{name}>"
        if name in ("abbr", "term"):
            return words or target if name == "term" else body
        if name.rpartition(":")[2] in SHOWN_AS_CODE:
            return f"`{words or target.lstrip('~')}`"
        raise self._unknown(f"role {{{name}}}")

    def _work(self, key: str) -> tuple[str, str]:
        if key not in self.labels.works:
            raise self._unknown(f"work {key!r} in the bibliography")
        return self.labels.works[key]

    def _target(self, label: str) -> tuple[str, str]:
        if label not in self.labels.targets:
            raise self._unknown(f"label {label!r}")
        return self.labels.targets[label]

    def _reference(self, words: str) -> str:
        return self.link(words, "book/references")

    def _link(self, image: str, words: str, target: str) -> str:
        """A link; those to pages of the book lead to the site."""
        if re.match(r"[a-z][\w+.-]*:", target):
            return f"{image}[{words}]({target})"
        path, mark, anchor = target.partition("#")
        page, suffix = splitext(self._absolute(path) if path else f"{self.page}.ipynb")
        if image or suffix not in (".md", ".ipynb"):
            raise self._unknown(f"link to the file {target!r}")
        return self.link(words, page, mark + anchor)

    def _absolute(self, path: str) -> str:
        """A path relative to this page, or from the root, as one from the root of the book."""
        return normpath(join("/", dirname(self.page), path)).lstrip("/")

    def _play(self, match: re.Match) -> str:
        still = " ".join(unescape(re.sub(r"<[^>]+>", " ", match["still"])).split())
        return f"*{still}* {self.link('Play with it there.', self.page)}" if self.site else f"*{still}*"

    def _unknown(self, what: str) -> ValueError:
        return ValueError(f"{self.page}: the {what} has no plain form. Teach tools/plain.py, or write it otherwise.")


def _until_closed(fence: str, lines: list[str]) -> list[str]:
    """Take the lines up to the one that closes `fence`, and that one too."""
    body: list[str] = []
    while lines:
        line = lines.pop(0)
        if re.fullmatch(rf"\s*{re.escape(fence[0])}{{{len(fence)},}}\s*", line):
            return body
        body.append(line)
    raise ValueError(f"the fence {fence} is never closed")


def _folded(title: str, inner: str) -> str:
    return f"<details>\n<summary>{title}</summary>\n\n{inner}\n\n</details>"
