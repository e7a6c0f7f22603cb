/* A stack of layers that the reader builds: how large each output is, and what one cell of it sees.

   <div class="play" data-play="output-size" data-preset="stride">a sentence for where no script runs</div>

   becomes a picture (output_size.picture.js) over a table of the layers, each with its settings. What stood inside
   remains where no script runs. data-preset names the stack that the reader begins with, a key of PRESETS. */
(function () {
  "use strict";

  const { outputSize, span, bothSides, extent, receptiveField, sees, atLeast, refuse, picture } = window.DLE.output_size;
  const { element, clamp, minus, mount } = window.DLE.play;

  const KINDS = { conv: "convolution", pool: "pooling", transposed: "transposed" };
  const NUMBERS = { // label, least, most
    kernel: ["Kernel", 1, 32],
    stride: ["Stride", 1, 32],
    padding: ["Padding", 0, 64],
    dilation: ["Dilation", 1, 32],
    output_padding: ["Output padding", 0, 31],
  };
  const APPLY = {
    conv: ["kernel", "stride", "padding", "dilation"],
    pool: ["kernel", "stride", "padding", "dilation", "ceil_mode"],
    transposed: ["kernel", "stride", "padding", "output_padding", "dilation"],
  };
  const PLAIN = { kernel: 3, stride: 1, padding: 0, dilation: 1, output_padding: 0, ceil_mode: false };
  const LARGEST = { size: 1024, output: 4096 };
  const MOST = 24; // layers

  const conv = (kernel, settings = {}) => ({ ...PLAIN, kind: "conv", kernel, ...settings });
  const pool = (kernel, settings = {}) => ({ ...PLAIN, kind: "pool", kernel, stride: kernel, ...settings });
  const transposed = (kernel, settings = {}) => ({ ...PLAIN, kind: "transposed", kernel, ...settings });
  const NEW = {
    conv: () => conv(3, { padding: 1 }), pool: () => pool(2), transposed: () => transposed(4, { stride: 2, padding: 1 }),
  };
  const PRESETS = {
    three: ["three 3x3", 16, [conv(3), conv(3), conv(3)]],
    stride: ["stride 2 first", 24, [conv(3, { stride: 2 }), conv(3), conv(3)]],
    dilated: ["dilations 1, 2, 4, 8", 40, [1, 2, 4, 8].map((d) => conv(3, { padding: d, dilation: d }))],
    alexnet: ["AlexNet's CONV1", 227, [conv(11, { stride: 4 })]],
    vgg16: ["VGG16", 224, [2, 2, 3, 3, 3].flatMap((depth) => [...Array(depth).fill(conv(3, { padding: 1 })), pool(2)])],
    there: ["there and back", 16, [
      conv(3, { stride: 2, padding: 1 }), transposed(3, { stride: 2, padding: 1, output_padding: 1 })]],
  };

  const tidy = (value) => (Number.isNaN(value) ? "varies" : minus(Math.round(value * 1000) / 1000));

  /* The fields of a layer's outputs, as text. */
  const breadth = ({ size: most, least }) => (
    Number.isNaN(most) ? "varies" : most === least ? String(most) : `${least} to ${most}`);

  const typed = (value) => (Number.isNaN(value) ? "?" : minus(value));

  /* A layer in words: what differs from the plainest is said. */
  function words(layer) {
    const told = APPLY[layer.kind].slice(1).filter((name) => layer[name] !== PLAIN[name]);
    const said = told.map((name) => (
      name === "ceil_mode" ? "ceil" : `${NUMBERS[name][0].toLowerCase()}\u00a0${typed(layer[name])}`));
    return [`${KINDS[layer.kind]}\u00a0${typed(layer.kernel)}`, ...said].join(", ");
  }

  /* The formula of the output size, with the numbers in it. */
  function formula(size, layer, output) {
    const { kernel: k, stride: s, padding: p, dilation: d } = layer;
    if (layer.kind === "transposed") {
      return `(${size} \u2212 1)\u00b7${s} \u2212 2\u00b7${p} + ${d}\u00b7(${k} \u2212 1) + ${layer.output_padding} + 1 = ${output}`;
    }
    const zeros = typeof p === "string" ? bothSides(layer) : `2\u00b7${p}`;
    const strides = `(${size} + ${zeros} \u2212 ${d}\u00b7(${k} \u2212 1) \u2212 1) / ${s}`;
    const [open, close] = layer.ceil_mode ? "\u2308\u2309" : "\u230a\u230b";
    const late = layer.ceil_mode && Math.ceil((size + 2 * p - span(layer)) / s) + 1 > output;
    return `${open}${strides}${close} + 1${late ? " \u2212 1" : ""} = ${output}${
      late ? ", as that last window would start in the right padding" : ""}`;
  }

  /* How the field grew, with the numbers in it. */
  function growth(layer, before, field) {
    if (layer.kind === "transposed") {
      return `A transposed layer divides the jump by its stride: ${tidy(before.jump)} / ${layer.stride} = ${tidy(field.jump)}.`;
    }
    if (before.size !== before.least || before.jump % 1) return ""; // behind a transposed layer no formula is as short
    const steps = `${layer.dilation}\u00b7(${layer.kernel} \u2212 1)`;
    return `The field grows by the kernel's steps times the jump below: ${before.size} + ${steps}\u00b7${
      before.jump} = ${field.size}.`;
  }

  /* What one cell sees, in words. */
  function sight({ stack, level, cell, seen }) {
    const field = extent(stack.slice(0, level), cell);
    const pixels = seen[0].real;
    if (!field) return "sees nothing of the input: no copy of the kernel reaches it.";
    if (!pixels.length) return "sees only padding.";
    const [low, high] = [pixels[0], pixels[pixels.length - 1]];
    const where = pixels.length === 1 ? `1 pixel, ${low}`
      : `${pixels.length} pixels${pixels.length > high - low ? `, ${low} to ${high}` : ` between ${low} and ${high}`}`;
    const beyond = field[0] < low || field[1] > high
      ? ` Its field of ${field[1] - field[0] + 1}, from ${minus(field[0])} to ${minus(field[1])}, ends in the padding.` : "";
    return `sees ${where}.${beyond}`;
  }

  function button(text, press, attributes = {}) {
    const node = element("button", { type: "button", class: "play-button", ...attributes }, text);
    node.addEventListener("click", press);
    return node;
  }

  function numberInput(id, value, least, most, changed) {
    const input = element("input", { type: "number", inputmode: "numeric", id, min: least, max: most, step: 1, value });
    input.addEventListener("input", () => changed(input.value.trim() === "" ? NaN : Number(input.value)));
    return input;
  }

  const labelled = (text, input) => (
    element("div", { class: "play-number" }, element("label", { for: input.id }, text), input));

  function build(root, id) {
    const state = {
      size: 16,
      entries: [], // each a layer and its part of the table
      level: Infinity, // of the chosen cell: the number of layers below it; Infinity stays on the last
      cell: 0,
      sizes: [], // of the input and behind each layer, as far as the stack is possible
    };
    let made = 0; // for unique ids
    const cells = picture(id, (level, cell) => {
      state.level = level === state.sizes.length - 1 ? Infinity : level;
      state.cell = cell;
      draw();
    });

    const layers = () => state.entries.map((entry) => entry.settings());

    // Controls

    const size = numberInput(`${id}-size`, state.size, 1, LARGEST.size, (value) => {
      state.size = value;
      update();
    });
    const presets = element("div", { class: "play-row", role: "group", "aria-label": "Examples" },
      ...Object.entries(PRESETS).map(([name, [text]]) => button(text, () => choose(name))));
    const verdict = element("output", { class: "play-verdict", role: "status", "aria-live": "polite" });
    const heads = ["layer", "output", "field", "jump", "centre"];
    const table = element("table", { class: "play-stack" },
      element("caption", {}, "The stack, from the input up. A layer's name opens its settings."),
      element("thead", {}, element("tr", {}, ...heads.map((text) => element("th", { scope: "col" }, text)))));
    const adds = Object.entries(KINDS).map(([kind, text]) => button(`+ ${text}`, () => {
      add(NEW[kind]()).open(true);
      update();
      state.entries[state.entries.length - 1].title.focus();
    }));

    /* One layer: a body of the table with its row, its formula and its settings. */
    function add(layer) {
      const name = `${id}-layer-${++made}`;
      const entry = { layer: { ...layer }, named: "number" };
      entry.settings = () => {
        const padding = entry.layer.kind === "conv" && entry.named !== "number" ? entry.named : entry.layer.padding;
        return { ...PLAIN, ...Object.fromEntries(APPLY[entry.layer.kind].map((key) => [key, entry.layer[key]])),
          kind: entry.layer.kind, padding };
      };
      const change = (key) => (value) => {
        entry.layer[key] = value;
        update();
      };
      const select = (key, options, value, changed) => {
        const node = element("select", { id: `${name}-${key}` },
          ...Object.entries(options).map(([option, text]) => element("option", { value: option }, text)));
        node.value = value;
        node.addEventListener("change", () => changed(node.value));
        return node;
      };
      const kind = labelled("Kind", select("kind", KINDS, layer.kind, change("kind")));
      const named = labelled("Padding is", select("named",
        { number: "a number", same: "same", valid: "valid", full: "full" }, "number", (value) => {
          entry.named = value;
          update();
        }));
      const fields = Object.fromEntries(Object.entries(NUMBERS).map(([key, [text, least, most]]) => [
        key, labelled(text, numberInput(`${name}-${key}`, layer[key], least, most, change(key)))]));
      const ceil = element("input", { type: "checkbox", id: `${name}-ceil` });
      ceil.checked = layer.ceil_mode;
      ceil.addEventListener("change", () => change("ceil_mode")(ceil.checked));
      fields.ceil_mode = element("div", { class: "play-number" }, element("label", { for: ceil.id }, "Ceil mode"), ceil);

      entry.title = button("", () => entry.open(entry.editor.hidden), {
        "aria-expanded": "false", "aria-controls": name, class: "play-button play-title" });
      entry.cells = heads.slice(1).map(() => element("td"));
      entry.formula = element("td", { colspan: heads.length, class: "play-formula", id: `${name}-formula` });
      entry.growth = element("p", { class: "play-formula" });
      const settings = element("div", { class: "play-settings", role: "group", "aria-describedby": entry.formula.id },
        kind, fields.kernel, fields.stride, named, fields.padding, fields.dilation, fields.output_padding,
        fields.ceil_mode);
      const buttons = element("div", { class: "play-row" },
        button("Move up", () => move(entry, -1)), button("Move down", () => move(entry, 1)),
        button("Remove", () => remove(entry)));
      entry.editor = element("tr", { id: name, hidden: "" },
        element("td", { colspan: heads.length }, settings, entry.growth, buttons));
      entry.body = element("tbody", {},
        element("tr", {}, element("th", { scope: "row" }, entry.title), ...entry.cells),
        element("tr", {}, entry.formula), entry.editor);
      entry.open = (wanted) => {
        state.entries.forEach((other) => {
          other.editor.hidden = other !== entry || !wanted;
          other.title.setAttribute("aria-expanded", String(!other.editor.hidden));
        });
      };
      entry.show = (place) => {
        const shown = entry.settings();
        entry.title.textContent = `${place}. ${words(shown)}`;
        settings.setAttribute("aria-label", `Settings of layer ${place}`);
        for (const [key, field] of Object.entries(fields)) {
          field.hidden = !APPLY[shown.kind].includes(key) || (key === "padding" && typeof shown.padding === "string");
        }
        named.hidden = shown.kind !== "conv";
        buttons.children[0].disabled = place === 1;
        buttons.children[1].disabled = place === state.entries.length;
      };
      state.entries.push(entry);
      table.append(entry.body);
      return entry;
    }

    function move(entry, by) {
      const from = state.entries.indexOf(entry);
      const focused = document.activeElement;
      state.entries.splice(from, 1);
      state.entries.splice(from + by, 0, entry);
      table.append(...state.entries.map((other) => other.body));
      update();
      (focused.disabled ? entry.title : focused).focus(); // moving a node takes the focus from it
    }

    function remove(entry) {
      const at = state.entries.indexOf(entry);
      state.entries.splice(at, 1);
      entry.body.remove();
      update();
      const next = state.entries[Math.min(at, state.entries.length - 1)];
      (next ? next.title : adds[0]).focus();
    }

    function choose(name) {
      const [, pixels, stack] = PRESETS[name];
      state.entries.forEach((entry) => entry.body.remove());
      state.entries = [];
      stack.forEach(add);
      size.value = state.size = pixels;
      state.level = Infinity;
      follow();
      state.cell = Math.floor(state.sizes[state.sizes.length - 1] / 2);
      update();
    }

    // What follows from the settings

    /* Sizes up the stack until a layer is impossible: state.sizes, and state.error, {place, message} or null. */
    function follow() {
      const most = (name, value, limit) => {
        if (value > limit) refuse(`${name} = ${value}: this page draws at most ${limit.toLocaleString("en")}`);
      };
      state.sizes = [];
      state.error = null;
      try {
        atLeast(1, { size: state.size });
        most("size", state.size, LARGEST.size);
        state.sizes.push(state.size);
        for (const layer of layers()) {
          for (const [key, [, , limit]] of Object.entries(NUMBERS)) most(key, layer[key], limit);
          const output = outputSize(state.sizes[state.sizes.length - 1], layer);
          most("output", output, LARGEST.output);
          state.sizes.push(output);
        }
      } catch (error) {
        if (!(error instanceof RangeError)) throw error;
        state.error = { place: state.sizes.length, message: error.message };
      }
    }

    function update() {
      follow();
      const stack = layers();
      const fields = state.sizes.map((_, i) => receptiveField(stack.slice(0, i)));
      state.entries.forEach((entry, i) => {
        const output = state.sizes[i + 1];
        const [before, field] = [fields[i], fields[i + 1]];
        const failed = state.error && state.error.place === i + 1;
        entry.show(i + 1);
        const shown = output ? [output, breadth(field), tidy(field.jump), tidy(field.offset)] : heads.slice(1).fill("\u2013");
        entry.cells.forEach((cell, column) => { cell.textContent = shown[column]; });
        entry.formula.textContent = output ? formula(state.sizes[i], stack[i], output)
          : failed ? `Impossible: ${minus(state.error.message)}` : "waits for the layers below";
        entry.body.classList.toggle("play-failed", Boolean(failed));
        entry.growth.textContent = output ? growth(stack[i], before, field) : "";
      });
      adds.forEach((node) => { node.disabled = state.entries.length >= MOST; });
      draw();
    }

    function draw() {
      const last = state.sizes.length - 1;
      cells.node.hidden = last < 1;
      if (last < 1) return say();
      const level = clamp(state.level, 1, last);
      state.cell = clamp(state.cell, 0, state.sizes[level] - 1);
      const stack = layers();
      const seen = sees(state.sizes, stack.slice(0, level), state.cell);
      const now = { sizes: state.sizes, stack, level, cell: state.cell, seen };
      cells.draw(now);
      say(now);
    }

    /* The result in words, read aloud when it changes. */
    function say(now) {
      const { error, sizes } = state;
      const told = error
        ? [element("strong", {}, error.place ? `Layer ${error.place} is impossible: ` : "Impossible: "), `${minus(error.message)}. `]
        : [element("strong", {}, `${sizes[0]} in, ${sizes[sizes.length - 1]} out. `)];
      if (now) told.push(`Cell ${now.cell} of layer ${now.level}, counted from 0, ${sight(now)}`);
      else if (!error) told.push("Add a layer.");
      verdict.replaceChildren(...told);
    }

    choose(root.dataset.preset in PRESETS ? root.dataset.preset : "three");
    return element("div", { class: "play-app" },
      element("div", { class: "play-bar" }, presets, labelled("Input size", size)),
      cells.node, verdict, table,
      element("div", { class: "play-row", role: "group", "aria-label": "Add a layer" }, ...adds));
  }

  mount("output-size", build);
})();
