"""The shape of a page, as a browser measures it, on a page whose shape is known."""

import pytest

from tools import shape
from tools.notebooks import BOOK

PAGE = """<!doctype html><title>page</title><style>* { margin: 0; padding: 0; border: 0 } body { font: 10px/10px monospace }
article * { display: block } summary { height: 10px } img { height: 300px; width: 9px }</style>
<article class="bd-article"><section>
<p style="height: 400px">Four words stand here</p>
<div class="cell"><details><summary>set-up</summary><pre>a = 1</pre></details></div>
<div class="cell"><div class="cell_input" style="height: 100px"><pre>b = 2
c = 3
</pre></div></div>
<div class="cell"><details><summary>plot</summary></details><div class="cell_output">
<div class="output"><figure><img alt=""><figcaption>Seen.</figcaption></figure></div></div></div>
<section><div class="cell"><div class="cell_input" style="height: 50px"><pre>d</pre></div><div class="cell_output">
<div class="output" style="height: 50px"><pre>listing <button><svg></svg></button></pre></div>
<div class="output"><div class="claim" style="height: 80px">Claim</div></div></div></div>
<p style="height: 0"></p><p style="height: 20px">Two words</p>
<div class="cell"><div class="cell_input" style="height: 50px"><pre>e</pre></div></div></section></section></article>"""


@pytest.mark.browser
def test_shares_lines_and_runs(browser, tmp_path, monkeypatch):
    monkeypatch.setattr(shape, "HTML", tmp_path)
    path = BOOK / "foundations" / "optimizers.ipynb"
    built = tmp_path / "book/foundations/optimizers.html"
    page = browser.new_page()
    with pytest.raises(SystemExit, match="foundations/optimizers is not built: make book"):
        shape.measure([path], page)
    built.parent.mkdir(parents=True)
    built.write_text(PAGE)
    found = shape.measure([path], page)["foundations/optimizers"]
    pixels = {"prose": 420, "code": 200, "folds": 20, "output": 50, "claims": 80, "figures": 300}
    for kind, height in pixels.items():
        assert abs(found[kind] - 100 * height / sum(pixels.values())) < 1.5, kind
    assert found["lines above"] == 2
    assert found["run"] == 2  # folds and figures between two cells are no sentence
    assert (found["words"], found["pictures"], found["captions"]) == (6, 1, 1)
    page.close()
