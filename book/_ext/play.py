"""Interactive figures: `book/_static/play/<chapter>.js` runs on the page of that chapter, and on no other."""

from pathlib import Path


def add_script(app, pagename, templatename, context, doctree) -> None:
    """Load the chapter's script and the style of all interactive figures where the page has one."""
    script = f"play/{pagename.rpartition('/')[2]}.js"
    if Path(app.srcdir, "book", "_static", script).exists():
        app.add_js_file(script, loading_method="defer")
        app.add_css_file("play/play.css")


def setup(app):
    app.connect("html-page-context", add_script)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
