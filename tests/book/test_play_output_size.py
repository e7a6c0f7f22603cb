"""The calculator of output sizes and receptive fields: it computes what Python does, and keys and phones can work it."""

import random
import re
from functools import partial

import pytest
import torch
from torch import nn

from helpers.convnets.output_size import (
    VGG16,
    Conv,
    Pool,
    conv_output_size,
    conv_transpose_output_size,
    pool_output_size,
    receptive_field,
    volume_table,
)

FIGURE = "output_size", "output-size"
FUNCTIONS = {
    "convOutputSize": conv_output_size,
    "poolOutputSize": pool_output_size,
    "convTransposeOutputSize": conv_transpose_output_size,
}

pytestmark = pytest.mark.browser


def drawn_settings(count=1500):
    """As many settings of each kind, about a third of them impossible; `random` draws the same on every machine."""
    draw = random.Random(0)
    for _ in range(count // 3):
        common = {
            "size": draw.randint(0, 24),
            "kernel": draw.choice([0, 1, 2, 2, 3, 3, 3, 4, 4, 5, 7, 11]),
            "stride": draw.choice([0, 1, 1, 1, 1, 2, 2, 2, 3, 4]),
            "padding": draw.randint(-1, 6),
            "dilation": draw.choice([0, 1, 1, 1, 1, 1, 2, 2, 3]),
        }
        padding = draw.choice(["same", "valid", "full", *5 * [common["padding"]], "reflect"])
        yield "convOutputSize", common | {"padding": padding}
        pool = common | {"padding": draw.choice([-1, 0, 0, 0, 1, 1, 2, 3]), "ceil_mode": draw.random() < 0.5}
        if draw.random() < 0.2:
            del pool["stride"]
        yield "poolOutputSize", pool
        yield "convTransposeOutputSize", common | {"output_padding": draw.choice([-1, 0, 0, 0, 1, 1, 2])}


def answer(function, setting):
    try:
        return function(**setting)
    except ValueError as error:
        return str(error)


def test_sizes_and_refusals_match_python(reader):
    table = list(drawn_settings())
    expected = [answer(FUNCTIONS[name], setting) for name, setting in table]
    found = reader().page.evaluate(
        """table => table.map(([name, setting]) => {
        try { return DLE.output_size[name](setting); } catch (error) { return error.message; } })""",
        table,
    )
    wrong = [case for case in zip(table, expected, found) if case[1] != case[2]]
    assert not wrong, f"{len(wrong)} of {len(table)}, the first: {wrong[0]}"
    for name in FUNCTIONS:  # the table must contain what it is there to compare
        sizes, refusals = [], set()
        for (function, _), result in zip(table, expected):
            if function == name:
                sizes.append(result) if isinstance(result, int) else refusals.add(re.sub(r"-?\d+", "#", result))
        assert len(sizes) >= 100 and len(set(sizes)) >= 15 and len(refusals) >= 6, (name, len(sizes), refusals)
    ceil = [s for name, s in table if s.get("ceil_mode")]
    assert sum(answer(pool_output_size, s) != answer(pool_output_size, s | {"ceil_mode": False}) for s in ceil) >= 20


def test_fields_match_python(reader):
    draw, play = random.Random(1), reader()
    stacks = [[], [(11, 4)], [(3, 2), (3,), (3,)], [(3, 1, d, d) for d in (1, 2, 4, 8)]]
    for _ in range(100):
        depth = draw.randint(1, 6)
        stacks.append([tuple(draw.randint(*ends) for ends in ((1, 5), (1, 3), (0, 3), (1, 3))) for _ in range(depth)])
    names = "kernel", "stride", "padding", "dilation"
    for stack in stacks:
        field = receptive_field(stack)
        layers = [{"kind": draw.choice(["conv", "pool"]), **dict(zip(names, layer))} for layer in stack]
        for layer in layers:
            if layer["kind"] == "pool":
                layer.setdefault("stride", 1)  # a pooling layer without a stride takes its kernel
                if layer.get("padding", 0) > layer["kernel"] // 2:
                    layer["kind"] = "conv"
        expected = {"size": field.size, "least": field.size, "jump": field.jump, "offset": field.offset}
        assert play.call("receptiveField", layers) == expected, stack
        assert play.call("grid", layers) == {"jump": field.jump, "offset": field.offset}, stack
        for output in (0, 1, 7):
            assert play.call("extent", layers, output) == list(field.extent(output)), stack


def as_torch(layer):
    """The layer with weights of one; pooling averages, so that its gradient reaches the whole window."""
    layer = dict(layer)
    kind, kernel = layer.pop("kind"), layer.pop("kernel")
    if kind == "pool":
        return partial(nn.functional.avg_pool1d, kernel_size=kernel, **layer)
    module = {"conv": nn.Conv1d, "transposed": nn.ConvTranspose1d}[kind](1, 1, kernel, bias=False, **layer)
    nn.init.ones_(module.weight)
    return module


def drawn_stack(draw):
    """A few layers of all kinds that fit an input of 30 pixels, and the module of each."""
    kinds = draw.choices(["conv", "pool", "transposed"], k=draw.randint(1, 4))
    layers = []
    for kind in kinds:
        kernel, stride = draw.randint(1, 4), draw.randint(1, 3)
        layer = {"kind": kind, "kernel": kernel, "stride": stride, "padding": draw.randint(0, kernel // 2)}
        if kind != "pool":
            layer["dilation"] = draw.randint(1, 3)
        if kind == "pool":
            layer["ceil_mode"] = draw.random() < 0.5
        if kind == "transposed":
            layer["output_padding"] = draw.randint(0, max(stride, layer["dilation"]) - 1)
        if kind == "conv" and draw.random() < 0.3:
            layer |= {"stride": 1, "padding": draw.choice(["same", "valid"])}
        layers.append(layer)
    return layers


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
def test_what_a_cell_sees_is_torchs_gradient(reader):
    """Sizes, and the input cells behind every output: padding, ceil mode, gaps and transposed layers included."""
    draw, play, cells = random.Random(2), reader(), 0
    for _ in range(60):
        layers = drawn_stack(draw)
        x = torch.ones(1, 1, 30, dtype=torch.float64, requires_grad=True)
        y, sizes = x, [30]
        for layer in layers:
            module = as_torch(layer)
            try:
                y = module.double()(y) if isinstance(module, nn.Module) else module(y)
            except RuntimeError:
                with pytest.raises(Exception, match="RangeError"):
                    play.call("outputSize", sizes[-1], layer)
                layers = layers[: len(sizes) - 1]
                break
            sizes.append(play.call("outputSize", sizes[-1], layer))
            assert sizes[-1] == y.shape[-1], layer
        for output in {0, 1, sizes[-1] // 2, sizes[-1] - 1} & set(range(sizes[-1])):
            (gradient,) = torch.autograd.grad(y[0, 0, output], x, retain_graph=True) if layers else (torch.zeros(1),)
            if layers:
                found = play.call("sees", sizes, layers, output)[0]["real"]
                assert found == gradient.flatten().nonzero().flatten().tolist(), (layers, output)
                cells += 1
    assert cells > 150


def test_fields_behind_transposed_layers_are_torchs(reader):
    """Largest and smallest field of any output, and their centres on average, far from the border."""
    draw, play, differ = random.Random(3), reader(), 0
    for _ in range(40):
        layers = [layer | {"padding": 0} for layer in drawn_stack(draw)][:3]
        layers.insert(draw.randint(0, len(layers)), {"kind": "transposed", "kernel": draw.randint(2, 5), "stride": 2})
        layers = [{k: v for k, v in layer.items() if k not in ("ceil_mode", "output_padding")} for layer in layers]
        period = 1
        for layer in layers:
            period *= layer["stride"] if layer["kind"] == "transposed" else 1
        x = torch.ones(1, 1, 400, dtype=torch.float64, requires_grad=True)
        y = x
        for layer in layers:
            module = as_torch(layer)
            y = module.double()(y) if isinstance(module, nn.Module) else module(y)
        field = play.call("receptiveField", layers)
        middle = y.shape[-1] // 2
        sizes, centres = [], []
        for output in range(middle, middle + period):
            (gradient,) = torch.autograd.grad(y[0, 0, output], x, retain_graph=True)
            pixels = gradient.flatten().nonzero().flatten().tolist()
            ends = [pixels[0], pixels[-1]] if pixels else None
            assert play.call("extent", layers, output) == ends, layers
            sizes.append(ends[1] - ends[0] + 1 if ends else 0)
            if ends:
                centres.append(sum(ends) / 2 - output * field["jump"])
        assert (field["least"], field["size"]) == (min(sizes), max(sizes)), layers
        differ += min(sizes) < max(sizes)
        assert field["offset"] == pytest.approx(sum(centres) / len(centres)), layers
    assert differ >= 10


def test_a_transposed_layers_cells_lie_evenly_over_its_input(reader):
    """Cut alike on both sides, its output and its input have the same middle; a pixel has `stride` cells."""
    draw, play = random.Random(4), reader()
    for _ in range(30):
        size, kernel, stride, dilation = (draw.randint(1, 6) for _ in range(4))
        layer = {"kernel": kernel, "stride": stride, "padding": draw.randint(0, kernel // 2), "dilation": dilation}
        try:
            cells = conv_transpose_output_size(size, **layer)
        except ValueError:
            continue
        grid = play.call("grid", [{"kind": "transposed", **layer}])
        assert grid["jump"] == pytest.approx(1 / stride)
        assert grid["offset"] + grid["jump"] * (cells - 1) / 2 == pytest.approx((size - 1) / 2), layer


def rows(play):
    """The table as it is read: output, field, jump and centre of each layer."""
    bodies = play.page.locator(".play-stack tbody").all()
    return [body.locator("tr").first.locator("td").all_text_contents() for body in bodies]


def press(play, name):
    play.page.get_by_role("button", name=name, exact=True).click()


def test_presets_are_the_chapters_stacks(reader):
    play = reader()
    expected = {
        "three 3x3": [(3,)] * 3,
        "stride 2 first": [(3, 2), (3,), (3,)],
        "dilations 1, 2, 4, 8": [(3, 1, d, d) for d in (1, 2, 4, 8)],
        "AlexNet's CONV1": [(11, 4)],
        "VGG16": [
            (layer.kernel, layer.stride, layer.padding if isinstance(layer, Conv) else 0)
            for layer in VGG16.values()
            if isinstance(layer, Conv | Pool)
        ],
    }
    for name, stack in expected.items():
        press(play, name)
        size = int(play.page.get_by_label("Input size").input_value())
        for i, shown in enumerate(rows(play), 1):
            size = conv_output_size(size, *stack[i - 1])
            field = receptive_field(stack[:i])
            assert shown == [str(size), str(field.size), str(field.jump), f"{field.offset:g}"], (name, i)
        assert i == len(stack)
    shapes = volume_table(VGG16, (3, 224, 224))[1:19]
    press(play, "VGG16")
    assert [shown[0] for shown in rows(play)] == [str(row.shape[1]) for row in shapes]
    press(play, "there and back")
    assert play.verdict().startswith("16 in, 16 out.")


def test_formulas_are_right_as_written(reader):
    """Each formula on the page is computed anew from its own text."""
    play, checked = reader(), 0
    for name in ("three 3x3", "stride 2 first", "dilations 1, 2, 4, 8", "VGG16", "there and back"):
        press(play, name)
        formulas = play.page.locator("td.play-formula").all_text_contents()
        play.page.evaluate("document.querySelectorAll('.play-title').forEach(title => title.click())")
        formulas += [
            text.split(": ")[1].rstrip(".") for text in play.page.locator("p.play-formula").all_text_contents() if text
        ]
        for text in formulas:
            left, right = text.split(" = ")
            python = left.replace("·", "*").replace("−", "-").replace("⌊", "int(").replace("⌋", ")")
            assert eval(python) == int(right), text
            checked += 1
    assert checked > 50


def test_the_keyboard_alone_builds_a_stack(reader):
    play = reader('data-preset="alexnet"')
    keys = play.page.keyboard

    def focused():
        return play.page.evaluate(
            "[document.activeElement.labels?.[0]?.textContent, document.activeElement.textContent].find(Boolean) || ''"
        ).replace("\u00a0", " ")

    seen = []
    for _ in range(12):
        keys.press("Tab")
        seen.append(focused())
    assert seen[:7] == [
        "three 3x3",
        "stride 2 first",
        "dilations 1, 2, 4, 8",
        "AlexNet's CONV1",
        "VGG16",
        "there and back",
        "Input size",
    ]
    assert seen[7] == "" and "Cell 27 of layer 1" in play.verdict()  # the chosen cell
    assert seen[8:] == ["1. convolution 11, stride 4", "+ convolution", "+ pooling", "+ transposed"]
    keys.press("Shift+Tab")
    keys.press("Enter")  # + pooling: the focus goes to its name, its settings are open
    assert focused() == "2. pooling 2, stride 2"
    assert play.page.locator(":focus").get_attribute("aria-expanded") == "true"
    order = []
    for _ in range(8):
        keys.press("Tab")
        order.append(focused().splitlines()[0])
    assert order[1:6] == ["Kernel", "Stride", "Padding", "Dilation", "Ceil mode"] and order[0] == "Kind"
    assert order[6:] == ["Move up", "Remove"]  # the last layer cannot move down
    for _ in range(6):
        keys.press("Shift+Tab")
    assert focused() == "Kernel"
    keys.press("ArrowUp")
    assert rows(play)[1] == [str(pool_output_size(55, 3, 2)), "19", "8", "9"]
    for _ in range(4):
        keys.press("Tab")
    keys.press("Space")
    assert "⌈" in play.page.locator("td.play-formula").nth(1).text_content()
    for _ in range(1):
        keys.press("Tab")
    keys.press("Enter")
    assert play.page.locator(".play-title").first.text_content().startswith("1. pooling\u00a03,")
    assert focused() == "1. pooling 3, stride 2, ceil"  # "Move up" cannot be pressed again: the focus is not lost
    for _ in range(8):
        keys.press("Tab")
    assert focused() == "Remove"
    keys.press("Enter")
    assert focused() == "1. convolution 11, stride 4" and len(rows(play)) == 1
    keys.press("Enter")
    for _ in range(2):
        keys.press("Tab")
    keys.type("110")
    assert play.verdict().startswith("Layer 1 is impossible: kernel = 110: this page draws at most 32")


def test_the_arrows_move_the_chosen_cell(reader):
    play = reader('data-preset="stride"')
    cell = play.page.get_by_role("slider")
    cell.focus()
    field = receptive_field([(3, 2), (3,), (3,)])

    def sees(level_field, output):
        first, last = level_field.extent(output)
        return f"sees {last - first + 1} pixels, {first} to {last}."

    assert sees(field, 3) in play.verdict()
    for key, output in (("ArrowRight", 4), ("Home", 0), ("ArrowLeft", 0), ("End", 6), ("PageUp", 6), ("PageDown", 0)):
        play.page.keyboard.press(key)
        assert cell.get_attribute("aria-valuetext") == f"cell {output} of layer 3"
        assert sees(field, output) in play.verdict()
    play.page.keyboard.press("ArrowDown")  # centre 5 lies over cell 1 of layer 2, whose centre is 3 + 2
    assert cell.get_attribute("aria-valuetext") == "cell 1 of layer 2"
    assert sees(receptive_field([(3, 2), (3,)]), 1) in play.verdict()
    play.page.keyboard.press("ArrowDown")
    play.page.keyboard.press("ArrowDown")
    assert cell.get_attribute("aria-valuetext").endswith("of layer 1")
    play.page.keyboard.press("ArrowUp")
    play.page.keyboard.press("ArrowUp")
    play.page.keyboard.press("ArrowUp")
    assert cell.get_attribute("aria-valuetext").endswith("of layer 3")


def scale(play):
    """From a place in the picture to the pixel of the input that the axis shows there."""
    ticks = play.page.locator(".play-tick").evaluate_all("nodes => nodes.map(node => node.getAttribute('d'))")
    text = play.page.locator(".play-picture text[text-anchor]").all_text_contents()
    places, numbers = [float(d[1:].split(",")[0]) for d in ticks], [int(t.replace("−", "-")) for t in text]
    unit = (places[-1] - places[0]) / (numbers[-1] - numbers[0])
    return lambda x: (x - places[0]) / unit + numbers[0]


def drawn_pixels(play, kind):
    """The pixels of the boxes of a kind in the lowest row, which is the input."""
    paths = play.page.locator(f".play-picture path[class='{kind}']")
    paths = paths.evaluate_all("nodes => nodes.map(node => node.getAttribute('d'))")
    boxes = [box for path in paths for box in re.findall(r"M([-\d.]+),([-\d.]+)h([-\d.]+)v", path)]
    lowest = max(float(y) for _, y, _ in boxes)
    return [round(scale(play)(float(x) + float(wide) / 2)) for x, y, wide in boxes if float(y) == lowest]


def chosen_pixel(play):
    """The pixel that lies below the middle of the chosen cell."""
    x, wide = (float(play.page.get_attribute(".play-chosen", name)) for name in ("x", "width"))
    return scale(play)(x + wide / 2)


@pytest.mark.parametrize("width", [780, 390])
def test_the_picture_fills_the_field(reader, width):
    play = reader('data-preset="stride"', width=width)
    first, last = receptive_field([(3, 2), (3,), (3,)]).extent(3)
    assert drawn_pixels(play, "play-cell play-seen") == [*range(first, last + 1)]
    press(play, "AlexNet's CONV1")
    play.page.get_by_role("slider").focus()
    for key, output in (("End", 54), ("Home", 0), ("PageUp", 10)):
        play.page.keyboard.press(key)
        first, last = receptive_field([(11, 4)]).extent(output)
        assert drawn_pixels(play, "play-cell play-seen") == [*range(first, last + 1)]
        assert chosen_pixel(play) == pytest.approx((first + last) / 2, abs=0.2)
    press(play, "dilations 1, 2, 4, 8")
    play.page.get_by_role("slider").focus()
    play.page.keyboard.press("Home")
    assert "sees 16 pixels, 0 to 15. Its field of 31, from −15 to 15, ends in the padding." in play.verdict()
    assert drawn_pixels(play, "play-zero play-seen") == [-1]


def test_pointer_and_finger_choose_a_cell(reader):
    play = reader('data-preset="three"')
    x, y = play.place(".play-chosen")
    width = play.page.locator(".play-chosen").bounding_box()["width"]
    play.page.mouse.click(x + 2 * width, y)
    assert "Cell 7 of layer 3" in play.verdict()
    play.page.mouse.move(x + 2 * width, y)
    play.page.mouse.down()
    play.page.mouse.move(x, y, steps=4)
    play.page.mouse.up()
    assert "Cell 5 of layer 3" in play.verdict()
    play.page.mouse.click(x, y + 44)
    assert "Cell 6 of layer 2" in play.verdict()
    play = reader('data-preset="vgg16"', width=390, has_touch=True)
    x, y = play.place(".play-chosen")
    play.page.touchscreen.tap(x, y + 26)
    assert "of layer 17" in play.verdict()
    told = play.verdict()
    play.finger("touchStart", (x, y))
    for step in range(1, 11):
        play.finger("touchMove", (x, y - 20 * step))
    play.finger("touchEnd")
    play.page.wait_for_function("scrollY > 50")
    assert play.verdict() == told


def test_impossible_settings_say_what_python_says(reader):
    play = reader('data-preset="three"')
    page = play.page
    page.locator(".play-title").nth(1).click()
    for label, value, call in (
        ("Kernel", "15", lambda: conv_output_size(14, 15)),
        ("Dilation", "7", lambda: conv_output_size(14, 3, dilation=7)),
        ("Stride", "0", lambda: conv_output_size(14, 3, 0)),
        ("Padding", "-1", lambda: conv_output_size(14, 3, padding=-1)),
    ):
        field = page.get_by_label(label, exact=True).locator("visible=true")
        before = field.input_value()
        field.fill(value)
        with pytest.raises(ValueError) as refusal:
            call()
        message = str(refusal.value).replace("= -", "= −")
        assert play.verdict().startswith(f"Layer 2 is impossible: {message}. ")
        assert page.locator("td.play-formula").nth(1).text_content() == f"Impossible: {message}"
        assert rows(play)[0][0] == "14" and rows(play)[1:] == [["–"] * 4] * 2
        assert "of layer 1" in play.verdict()  # the cells below are still there to look at
        field.fill(before)
        assert play.verdict().startswith("16 in, 10 out.")
    page.get_by_label("Stride", exact=True).locator("visible=true").fill("2")
    page.get_by_label("Padding is").locator("visible=true").select_option("same")
    assert "Layer 2 is impossible: stride = 2 is too large for padding 'same'" in play.verdict()
    page.get_by_label("Stride", exact=True).locator("visible=true").fill("1")
    assert play.verdict().startswith("16 in, 12 out.")
    assert not page.get_by_label("Padding", exact=True).nth(1).is_visible()
    for value, complaint in (
        ("", "size is empty"),
        ("2.5", "size = 2.5: give a whole number"),
        ("0", "size = 0: it is"),
    ):
        page.get_by_label("Input size").fill(value)
        assert play.verdict().startswith(f"Impossible: {complaint}") and not page.locator(".play-picture").is_visible()
    page.get_by_label("Input size").fill("16")
    for _ in range(3):
        page.locator(".play-title").first.click()
        if not page.get_by_role("button", name="Remove").is_visible():
            page.locator(".play-title").first.click()
        press(play, "Remove")
    assert play.verdict() == "16 in, 16 out. Add a layer."


def test_settings_are_those_that_apply(reader):
    play = reader('data-preset="alexnet"')
    play.page.locator(".play-title").click()
    shown = {}
    for kind in ("convolution", "pooling", "transposed"):
        play.page.get_by_label("Kind").select_option(kind)
        shown[kind] = play.page.locator(".play-settings label").locator("visible=true").all_text_contents()
    assert shown == {
        "convolution": ["Kind", "Kernel", "Stride", "Padding is", "Padding", "Dilation"],
        "pooling": ["Kind", "Kernel", "Stride", "Padding", "Dilation", "Ceil mode"],
        "transposed": ["Kind", "Kernel", "Stride", "Padding", "Dilation", "Output padding"],
    }
    play.page.get_by_label("Output padding").fill("3")
    assert rows(play)[0][0] == str(conv_transpose_output_size(227, 11, 4, output_padding=3))


def test_absurd_settings_are_answered_at_once(reader):
    """The largest numbers that the page takes must not hang it; what would take long is said to vary."""
    play = reader('data-preset="vgg16"')
    seconds, width = play.page.evaluate(
        """() => { const { outputSize, sees, receptiveField } = DLE.output_size;
        const layers = Array.from({ length: 24 }, (_, i) => (
            { kind: "conv", kernel: 32, padding: "same", dilation: i < 23 ? 32 : 1 }));
        const sizes = Array(25).fill(4096);
        const begun = performance.now();
        const seen = sees(sizes, layers, 2048);
        for (let i = 0; i <= 24; i++) receptiveField(layers.slice(0, i));
        const mixed = layers.map((layer, i) => ({ ...layer, padding: 0, ...i % 4 ? {} : { kind: "transposed", stride: 2 } }));
        for (let i = 0; i <= 24; i++) receptiveField(mixed.slice(0, i));
        return [(performance.now() - begun) / 1000, seen[0].real.length]; }"""
    )
    assert width == 4096 and seconds < 5
    press(play, "three 3x3")
    for i in range(3):
        play.page.locator(".play-title").nth(i).click()
        play.page.get_by_label("Kind").locator("visible=true").select_option("transposed")
        play.page.get_by_label("Stride", exact=True).locator("visible=true").fill("5")
    assert [row[1] for row in rows(play)] == ["0 to 1", "0 to 1", "varies"]
    play.page.get_by_label("Stride", exact=True).locator("visible=true").fill("32")
    size = 16
    for stride in (5, 5, 32):
        size = conv_transpose_output_size(size, 3, stride)
    assert play.verdict().startswith(f"Layer 3 is impossible: output = {size}: this page draws at most 4,096")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_phone(reader, scheme):
    play = reader(width=390, color_scheme=scheme)
    names = "three 3x3", "dilations 1, 2, 4, 8", "AlexNet's CONV1", "VGG16", "there and back"
    for name in names:
        press(play, name)
        play.page.locator(".play-title").last.click()
        assert play.overflow() <= 0, name
        sizes = "[...document.querySelectorAll('.play-app *')].map(e => parseFloat(getComputedStyle(e).fontSize))"
        assert min(play.page.evaluate(sizes)) >= 11
        for button in play.page.get_by_role("button").locator("visible=true").all():
            assert button.bounding_box()["height"] >= 24
    ink = "getComputedStyle(document.querySelector('.play-number input')).color"
    assert play.page.evaluate(ink) == {"light": "rgb(0, 0, 0)", "dark": "rgb(255, 255, 255)"}[scheme]


def test_everything_has_a_name(reader):
    play = reader("", 'data-preset="vgg16"')
    play.page.locator(".play-title").first.click()
    nameless = """[...document.querySelectorAll('.play-app :is(input, select, button, [tabindex])')].filter(e =>
        !(e.labels?.length || e.textContent.trim() || e.getAttribute('aria-label'))).length"""
    assert play.page.evaluate(nameless) == 0
    ids = play.page.evaluate("[...document.querySelectorAll('[id]')].map(e => e.id)")
    assert len(ids) == len(set(ids)) > 100
    for pointer in ("aria-controls", "aria-describedby", "for"):
        nodes = play.page.locator(f".play-app [{pointer}]")
        assert set(nodes.evaluate_all(f"nodes => nodes.map(node => node.getAttribute('{pointer}'))")) <= set(ids)
    assert play.page.locator(".play-verdict").first.get_attribute("aria-live") == "polite"


def test_still_remains_without_script_and_on_paper(reader):
    assert reader(java_script_enabled=False).page.get_by_text("A still.").is_visible()
    play = reader()
    assert not play.page.get_by_text("A still.").is_visible()
    play.page.emulate_media(media="print")
    assert play.page.get_by_text("A still.").is_visible() and not play.page.locator(".play-app").is_visible()
