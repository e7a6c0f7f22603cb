"""Let the built site stand alone and weigh little: what a page asks for lies in the site, as small as it can be."""

import importlib.util
import re
import shutil
from pathlib import Path

from fontTools.subset import Options, Subsetter
from fontTools.ttLib import TTFont
from PIL import Image

# What tex-chtml.js may load later, relative to itself.
MATHJAX = ("tex-chtml.js", "output/chtml/fonts", "input/tex/extensions")
LARGE = 10_000  # bytes
FIGURE = re.compile(r"[0-9a-f]{64}\.png")
ICON = re.compile(r'(((?:\.fa-[a-z0-9-]+::?before,?)+)\{content:"\\([0-9a-f]+)"\})')
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
    """Send less: large figures as lossless WebP, icons by a font of those in use and not by a script, no preloading.

    A preloaded font is fetched twice, and from a folder the browser refuses it and says so in the console.
    """
    if error or app.builder.format != "html":
        return
    smaller = shrink_figures(Path(app.outdir, "_images"), Path(app.srcdir, "_build", "figures"))
    for page in Path(app.outdir).rglob("*.html"):
        text = page.read_text()
        light = FIGURE.sub(lambda match: smaller.get(match[0], match[0]), HEAVY.sub("", text))
        if light != text:
            page.write_text(light)
    for fonts in Path(app.outdir, "_static", "vendor", "fontawesome").glob("*/webfonts"):
        subset_icons(Path(app.outdir), fonts)


def shrink_figures(images: Path, cache: Path) -> dict[str, str]:
    """Replace each large PNG by a lossless WebP, which is about 40 % smaller; return old name -> new name.

    The names are hashes of the content, so what an earlier build converted is taken from `cache`.
    """
    cache.mkdir(parents=True, exist_ok=True)
    names = {}
    for png in images.glob("*.png"):
        if not FIGURE.fullmatch(png.name) or png.stat().st_size < LARGE:
            continue
        webp = cache / f"{png.stem}.webp"
        if not webp.exists():
            with Image.open(png) as image:
                image.save(webp, save_all=True, lossless=True, quality=50, method=2)
        if webp.stat().st_size < png.stat().st_size:
            names[png.name] = webp.name
            shutil.copy(webp, images / webp.name)
            png.unlink()
    return names


def subset_icons(site: Path, fonts: Path) -> None:
    """Reduce Font Awesome's fonts and style to the icons that pages, scripts and styles name: 180 kB to a few."""
    sheet = fonts.parent / "css" / "all.min.css"
    files = [*site.rglob("*.html"), *site.glob("_static/scripts/*.js"), *site.glob("_static/**/*.css")]
    texts = [file.read_text() for file in files if file != sheet]
    names = {name for text in texts for name in re.findall(r"\bfa-([a-z0-9-]+)", text)}
    codes = {code for text in texts for code in re.findall(r'"\\(f[0-9a-f]{3})', text)}
    style = sheet.read_text()
    for rule, selectors, code in re.findall(ICON, style):
        if names.isdisjoint(re.findall(r"\.fa-([a-z0-9-]+)", selectors)):
            style = style.replace(rule, "")
        else:
            codes.add(code)
    sheet.write_text(re.sub(r'(fa-\w+-\d+\.woff)2\) format\("woff2"\)', r'\1) format("woff")', style))
    for whole in fonts.glob("fa-*.ttf"):
        font = TTFont(whole)
        subsetter = Subsetter(Options(layout_features=[]))
        subsetter.populate(unicodes=[int(code, 16) for code in codes])
        subsetter.subset(font)
        font.flavor = "woff"
        font.save(whole.with_suffix(".woff"))
        whole.with_suffix(".woff2").unlink(missing_ok=True)


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
