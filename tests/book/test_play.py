"""The bowl that the reader plays with: its arithmetic is torch's, and hands, keys and phones can work it."""

from itertools import product
from pathlib import Path

import pytest
import torch

STATIC = Path(__file__).resolve().parents[2] / "book/_static/play"
OPTIMIZERS = {
    "gd": lambda p, lr, momentum: torch.optim.SGD(p, lr),
    "momentum": lambda p, lr, momentum: torch.optim.SGD(p, lr, momentum),
    "nesterov": lambda p, lr, momentum: torch.optim.SGD(p, lr, momentum, nesterov=momentum > 0),
    "adam": lambda p, lr, momentum: torch.optim.Adam(p, lr, (momentum, 0.999)),
}
START = [-2, 0.9]
L = 10  # the curvature across the floor of the chapter's bowl
FIGURE = "optimizers", "momentum-bowl"

pytestmark = pytest.mark.browser


def walk(method, lr, momentum, kappa, start, steps):
    """The path of torch's own optimizer over (L / kappa x² + L y²) / 2."""
    point = torch.tensor(start, dtype=torch.float64, requires_grad=True)
    optimizer = OPTIMIZERS[method]([point], lr, momentum)
    curvature = torch.tensor([L / kappa, L], dtype=torch.float64)
    points = [point.tolist()]
    for _ in range(steps):
        point.grad = curvature * point.detach()
        optimizer.step()
        points.append(point.tolist())
    return torch.tensor(points, dtype=torch.float64)


def outputs(play):
    """What the sliders show."""
    return play.page.locator(".play-slider output").all_text_contents()


def test_paths_match_torch(reader):
    play = reader()
    settings = [
        *product(["gd", "momentum", "nesterov"], [0.005, 0.1, 0.19, 0.24], [0.0, 0.5, 0.9], [1, 40], [START]),
        *product(["adam"], [0.01, 0.1, 0.5], [0.0, 0.9], [1, 20], [START, [0.4, 0.0]]),
    ]
    for method, lr, momentum, kappa, start in settings:
        setting = dict(lr=lr, momentum=momentum, kappa=kappa, start=start, steps=40)
        expected = walk(method, **setting)
        path = torch.tensor(play.call("path", method, setting), dtype=torch.float64)
        torch.testing.assert_close(path, expected, rtol=1e-9, atol=1e-9)


def test_loss_is_the_bowl(reader):
    assert reader().call("loss", [3, 2], 9) == pytest.approx(L * (9 / 9 + 4) / 2)


@pytest.mark.parametrize("method", ["gd", "momentum", "nesterov"])
def test_rate_is_the_spectral_radius(reader, method):
    """The factor per step of torch's optimizer: it is linear, so its matrix is read off by letting it walk."""
    play = reader()
    for lr, momentum, kappa in product([0.01, 0.13, 0.25], [0.0, 0.45, 0.95], [1, 30]):
        radii = []
        for share in (1 / kappa, 1.0):  # of L
            # x(t+2) = a x(t+1) + b x(t) holds along every path; two of its instances give a and b.
            x = walk(method, lr * share, momentum, 1, [1.0, 1.0], 3)[:, 0].tolist()
            system = torch.tensor([[x[1], x[0]], [x[2], x[1]]], dtype=torch.float64)
            a, b = torch.linalg.lstsq(system, torch.tensor([x[2], x[3]], dtype=torch.float64)).solution.tolist()
            companion = torch.tensor([[a, b], [1.0, 0.0]], dtype=torch.float64)
            radii.append(torch.linalg.eigvals(companion).abs().max().item())
        setting = dict(lr=lr, momentum=momentum, kappa=kappa)
        assert play.call("rate", method, setting) == pytest.approx(max(radii), abs=1e-6), setting


@pytest.mark.parametrize("method", ["gd", "momentum", "nesterov"])
@pytest.mark.parametrize("kappa", [1, 4, 20, 100])
def test_nothing_is_faster_than_fastest(reader, method, kappa):
    play = reader()
    best = play.call("fastest", method, kappa)
    rates = play.page.evaluate(
        """([method, kappa]) => { const rates = [];
        for (let lr = 0; lr <= 0.4; lr += 0.002) for (let momentum = 0; momentum < 1; momentum += 0.02)
          rates.push(DLE.optimizers.rate(method, {lr, momentum, kappa}));
        return rates; }""",
        [method, kappa],
    )
    assert play.call("rate", method, {**best, "kappa": kappa}) <= min(rates) + 1e-6


def test_lines_and_star_are_those_of_the_chapter(reader):
    """Both curves of critical damping meet in the star, left of the dashed limit; other methods show none of them."""
    play = reader()
    axis = "e => e.getAttribute('d').split(/[ML]/).filter(Boolean).map(p => p.replace('Z', '').split(',').map(Number))"
    star = torch.tensor(play.page.eval_on_selector(".play-best:not([stroke-dasharray])", axis)).mean(0)
    limit = torch.tensor(play.page.eval_on_selector(".play-best[stroke-dasharray]", axis))
    curves = torch.tensor(play.page.eval_on_selector(".play-ticks path[fill=none]", axis))
    best = play.call("fastest", "momentum", 10)
    sides = "e => [e.x, e.y, e.width, e.height].map(a => a.baseVal.value)"
    x, y, width, height = play.page.eval_on_selector(".play-plane .play-frame", sides)
    shown = torch.tensor([x + width * best["lr"] / 0.42, y + height * (1 - best["momentum"])])
    torch.testing.assert_close(star, shown, rtol=0, atol=0.1)
    floor, wall = curves[:121], curves[121:]
    for curve in (floor, wall):
        assert (curve - star).norm(dim=1).min() < 2.5  # between two corners of the line
    ends = torch.tensor([[x + width * 0.2 / 0.42, y + height], [x + width * 0.4 / 0.42, y]])
    torch.testing.assert_close(limit[[0, -1]], ends, rtol=0, atol=0.1)
    play.page.check("input[value=nesterov]")
    assert play.page.get_attribute(".play-best[stroke-dasharray]", "d") == ""


def test_steps_are_counted_on_torchs_path(reader):
    play = reader()
    table = [("gd", 0.16, 0), ("momentum", 0.16, 0.6), ("momentum", 0.03, 0.95), ("nesterov", 0.12, 0.5)]
    for method, lr, momentum in table:
        distance = walk(method, lr, momentum, 20, START, 1000).norm(dim=1)
        outside = (distance > 1e-3 * distance[0]).nonzero().max().item()
        found = play.call("steps", method, dict(lr=lr, momentum=momentum, kappa=20, start=START))
        assert found == {"steps": outside + 1, "diverges": False, "leaves": False}
    distance = walk("adam", 0.3, 0.6, 20, START, 3000).norm(dim=1)
    near = distance <= 1e-3 * distance[0]
    found = play.call("steps", "adam", dict(lr=0.3, momentum=0.6, kappa=20, start=START), 3000)
    assert found["steps"] == near.nonzero().min().item()
    assert found["leaves"] == (not near[found["steps"] :].all().item())


def test_divergence_at_the_border(reader):
    """Descent needs lr < 2 / L, momentum lr < 2 (1 + momentum) / L, Nesterov less than either."""
    play = reader()
    for method, momentum, border in [("gd", 0, 0.2), ("momentum", 0.5, 0.3), ("nesterov", 0.5, 0.15)]:
        setting = dict(momentum=momentum, kappa=10, start=START)
        assert not play.call("steps", method, {**setting, "lr": border - 0.001})["diverges"]
        assert play.call("steps", method, {**setting, "lr": border + 0.001})["diverges"]
        assert play.call("rate", method, {**setting, "lr": border}) == pytest.approx(1)
    assert play.call("steps", "gd", dict(lr=0.3, kappa=10, start=[0, 0]))["steps"] == 0


def test_keys_change_the_outputs(reader):
    play = reader()
    before = outputs(play), play.verdict()
    assert before[0] == ["0.150", "0.50", "10"] and "18 steps" in before[1]
    for slider in ("Learning rate", "Momentum", "Condition number"):
        play.page.get_by_role("slider", name=slider).focus()
        play.page.keyboard.press("ArrowRight")
    assert outputs(play) == ["0.152", "0.51", "10"]
    play.page.keyboard.press("End")
    assert outputs(play)[2] == "100" and play.verdict() != before[1]
    play.page.get_by_role("slider", name="Learning rate").focus()
    play.page.keyboard.press("End")
    assert "diverges" in play.verdict()
    play.page.get_by_role("radio", name="momentum").focus()
    play.page.keyboard.press("ArrowLeft")
    assert (
        play.verdict().startswith("Gradient descent") and play.page.get_by_role("slider", name="Momentum").is_disabled()
    )
    start = play.page.get_by_role("slider", name="Start of the path")
    start.focus()
    play.page.keyboard.press("ArrowUp")
    assert start.get_attribute("aria-valuetext") == "x = −2.0, y = 1.0"


def test_mouse_moves_start_and_setting(reader):
    play = reader()
    x, y = play.place(".play-start")
    play.page.mouse.move(x, y)
    play.page.mouse.down()
    play.page.mouse.move(x + 200, y + 40, steps=4)
    play.page.mouse.up()
    assert play.place(".play-start") == pytest.approx((x + 200, y + 40), abs=1)
    box = play.page.locator(".play-plane canvas").bounding_box()
    play.page.mouse.click(box["x"] + 0.25 * box["width"], box["y"] + 0.25 * box["height"])
    assert [float(text) for text in outputs(play)] == pytest.approx([0.105, 0.75, 10], abs=0.02)


def test_finger_drags_the_ring_and_scrolls_elsewhere(reader):
    play = reader(width=390, has_touch=True)
    x, y = play.place(".play-start")
    play.finger("touchStart", (x, y))
    for step in range(1, 6):
        play.finger("touchMove", (x + 20 * step, y + 10 * step))
    play.finger("touchEnd")
    assert play.place(".play-start") == pytest.approx((x + 100, y + 50), abs=2)
    assert play.page.evaluate("scrollY") == 0
    box = play.page.locator(".play-bowl").bounding_box()
    x, y = box["x"] + 0.8 * box["width"], box["y"] + 0.8 * box["height"]
    play.page.touchscreen.tap(x, y)
    assert play.place(".play-start") == pytest.approx((x, y), abs=2)
    x, ring = box["x"] + 0.3 * box["width"], play.page.get_attribute(".play-start", "cx")
    play.finger("touchStart", (x, y))
    for step in range(1, 11):
        play.finger("touchMove", (x, y - 20 * step))
    play.finger("touchEnd")
    play.page.wait_for_function("scrollY > 50")
    assert play.page.get_attribute(".play-start", "cx") == ring


def test_shade_shows_where_it_converges(reader):
    play = reader()
    play.page.wait_for_timeout(100)  # the shade is drawn with the next frame

    def alpha(lr, momentum, limit=0.42):
        return play.page.evaluate(
            """([x, y]) => { const shown = document.querySelector(".play-plane canvas");
            const copy = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
            copy.drawImage(shown, -Math.floor(x * shown.width), -Math.floor(y * shown.height));
            return copy.getImageData(0, 0, 1, 1).data[3]; }""",
            [lr / limit, 1 - momentum],
        )

    assert alpha(0.3, 0.25) == 0 and alpha(0.23, 0.25) > alpha(0.05, 0.25) > alpha(0.002, 0.25) > 0
    play.page.check("input[value=nesterov]")
    play.page.wait_for_timeout(100)
    assert alpha(0.23, 0.25) == 0
    play.page.check("input[value=adam]")
    play.page.wait_for_timeout(500)
    assert alpha(0.3, 0.5, limit=1) > alpha(0.03, 0.5, limit=1) > 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_phone(reader, scheme):
    play = reader(width=390, color_scheme=scheme)
    assert play.overflow() <= 0
    for name in (".play-bowl", ".play-plane svg", ".play-slider input"):
        assert play.page.locator(name).first.bounding_box()["width"] > 250
    sizes = "[...document.querySelectorAll('.play-app *')].map(e => parseFloat(getComputedStyle(e).fontSize))"
    assert min(play.page.evaluate(sizes)) >= 11


def test_page_begins_as_it_says(reader):
    play = reader('data-method="gd" data-lr="0.05" data-kappa="50"', 'data-method="adam" data-lr="0.1"', "")
    assert play.page.evaluate("[...document.querySelectorAll('.play')].map(e => e.dataset.verdict)")[2] == "18"
    assert outputs(play)[:3] == ["0.050", "–", "50"] and outputs(play)[3] == "0.100"
    ids = play.page.evaluate("[...document.querySelectorAll('[id]')].map(e => e.id)")
    assert len(ids) == len(set(ids)) and len(ids) == 3 * 4


def test_run_moves_and_stops_and_is_not_offered_against_the_readers_wish(reader):
    play = reader()
    play.page.get_by_role("button", name="Watch it run").click()
    first = play.page.wait_for_function("document.querySelector('.play-ball').getAttribute('cx')").json_value()
    play.page.wait_for_function("x => document.querySelector('.play-ball').getAttribute('cx') !== x", arg=first)
    play.page.get_by_role("button", name="Stop").click()
    assert play.page.get_attribute(".play-ball", "visibility") == "hidden"
    assert not reader(reduced_motion="reduce").page.locator(".play-run").is_visible()


def test_still_remains_without_script_and_on_paper(reader):
    play = reader(java_script_enabled=False)
    assert play.page.get_by_text("A still.").is_visible()
    play = reader()
    assert not play.page.get_by_text("A still.").is_visible()
    play.page.emulate_media(media="print")
    assert play.page.get_by_text("A still.").is_visible() and not play.page.locator(".play-app").is_visible()


def test_unknown_method_is_named(reader):
    with pytest.raises(Exception, match='method "sgd": one of gd, momentum, nesterov, adam'):
        reader().call("path", "sgd", dict(lr=1, kappa=1, start=START, steps=1))


def test_files_fetch_nothing():
    files = sorted(STATIC.glob("*.*"))
    assert len(files) >= 5
    for path in files:
        text = path.read_text().replace("http://www.w3.org/2000/svg", "").replace("url(#", "")
        assert not [word for word in ("http", "//cdn", "fetch(", "import(", "url(", "@import") if word in text], (
            path.name
        )
