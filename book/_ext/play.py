"""Interactive figures: `book/_static/play/<chapter>.js` runs on the page of that chapter, and on no other.

Before it run `play.js`, which all figures share, and the chapter's other files, `<chapter>.<what>.js`, by their names.
"""

from pathlib import Path


def scripts(folder: Path, chapter: str) -> list[str]:
    """The names of the files that a chapter's figure is made of, in the order in which they run; none without one."""
    if not (folder / f"{chapter}.js").exists():
        return []
    parts = sorted(path.name for path in folder.glob(f"{chapter}.*.js"))
    return ["play.js", *parts, f"{chapter}.js"]


def add_scripts(app, pagename, templatename, context, doctree) -> None:
    """Load the chapter's scripts and the style of all interactive figures where the page has one."""
    names = scripts(Path(app.srcdir, "book", "_static", "play"), pagename.rpartition("/")[2])
    for name in names:
        app.add_js_file(f"play/{name}", loading_method="defer")
    if names:
        app.add_css_file("play/play.css")


def setup(app):
    app.connect("html-page-context", add_scripts)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
