"""Let the built site stand alone: every script and font that a page asks for lies in the site itself."""

import importlib.util
import re
import shutil
from pathlib import Path

# What tex-chtml.js may load later, relative to itself.
MATHJAX = ("tex-chtml.js", "output/chtml/fonts", "input/tex/extensions")
HEAVY = re.compile(r'<link rel="preload" as="font"[^>]*>|<script src="[^"]*fontawesome[^"]*"></script>')


def copy_mathjax(app, error) -> None:
    """Copy MathJax from the package sphinx-mathjax-offline, whose own extension would copy 24 MB."""
    if error or app.builder.format != "html":
        return
    package = importlib.util.find_spec("sphinx-mathjax-offline").submodule_search_locations[0]
    source, target = Path(package, "static", "mathjax"), Path(app.outdir, "_static", "mathjax")
    for name in MATHJAX:
        if (target / name).exists():
            continue
        if (source / name).is_dir():
            shutil.copytree(source / name, target / name)
        else:
            target.mkdir(parents=True, exist_ok=True)
            shutil.copy(source / name, target / name)


def lighten(app, error) -> None:
    """Show icons by Font Awesome's font (0.16 MB) and not by its script (1.5 MB), and preload nothing.

    A preloaded font is fetched twice, and from a folder the browser refuses it and says so in the console.
    """
    if error or app.builder.format != "html":
        return
    for page in Path(app.outdir).rglob("*.html"):
        text = page.read_text()
        light = HEAVY.sub("", text)
        if light != text:
            page.write_text(light)


def keep_local(app, pagename, templatename, context, doctree) -> None:
    """Drop thebe (it loads from a CDN and declares a constant twice) and widget managers; follow the reader's colour scheme."""
    context["script_files"] = [f for f in context.get("script_files", []) if not _foreign(f)]
    context["css_files"] = [f for f in context.get("css_files", []) if "thebe" not in str(getattr(f, "filename", f))]
    context["default_mode"] = "auto"


def _foreign(script) -> bool:
    name = str(getattr(script, "filename", script) or "")
    body = getattr(script, "attributes", {}).get("body", "") or ""
    return "thebe" in name + body or "require" in name or "html-manager" in name


def use_local_mathjax(app, config) -> None:
    config.mathjax_path = "mathjax/tex-chtml.js"


def setup(app):
    app.connect("config-inited", use_local_mathjax, priority=900)
    app.connect("html-page-context", keep_local, priority=900)
    app.connect("build-finished", copy_mathjax)
    app.connect("build-finished", lighten)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
