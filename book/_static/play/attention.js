/* A dictionary that mixes: the reader turns a query and changes its length, and sees the weights and the answer.

   <div class="play" data-play="lookup">a sentence for where no script runs</div>

   Keys and values are those of the page: six keys on a circle, 60 degrees apart, with the values 10 to 60. */
(function () {
  "use strict";

  const { element, shape, clamp, round, soften, percent, mount } = window.DLE.play;

  const VALUES = [10, 20, 30, 40, 50, 60];
  const KEYS = VALUES.map((_, i) => [Math.cos(i * Math.PI / 3), Math.sin(i * Math.PI / 3)]);

  /* Weights and answer for a query of this angle, in degrees, and length. */
  function look(angle, length) {
    const query = [length * Math.cos(angle * Math.PI / 180), length * Math.sin(angle * Math.PI / 180)];
    const weights = soften(KEYS.map((key) => key[0] * query[0] + key[1] * query[1]), 1);
    return { weights, answer: weights.reduce((sum, w, i) => sum + w * VALUES[i], 0) };
  }

  window.DLE.attention = { look };

  const SIZE = 240;
  const MIDDLE = SIZE / 2;
  const RADIUS = 84; // of the circle of keys
  const [HEAD, FOOT] = [22, 24]; // above and below the bars
  const BAR = SIZE / VALUES.length;
  const [SHORT, LONG] = [0, 40]; // lengths of the query
  const START = { angle: 80, length: 4 };

  const place = ([x, y], scale) => [MIDDLE + scale * x, MIDDLE - scale * y].map(round);

  function build(root, id) {
    let { angle, length } = START;

    const dots = KEYS.map((key) => {
      const [x, y] = place(key, RADIUS);
      return shape("circle", { cx: x, cy: y, class: "play-entry" });
    });
    const names = KEYS.map((key, i) => {
      const [x, y] = place(key, RADIUS + 24);
      return shape("text", { x, y: y + 5 }, VALUES[i]);
    });
    const arrow = shape("path", { class: "play-query" });
    const grip = shape("circle", { r: 15, class: "play-grip" });
    const plane = shape("svg", { viewBox: `0 0 ${SIZE} ${SIZE}`, class: "play-shares", role: "img" },
      shape("circle", { cx: MIDDLE, cy: MIDDLE, r: RADIUS, class: "play-frame" }), ...dots, ...names, arrow, grip);
    const bars = VALUES.map((value, i) => ({
      bar: shape("rect", { x: round(BAR * i + 5), width: round(BAR - 10), class: "play-other" }),
      share: shape("text", { x: round(BAR * (i + 0.5)) }),
      name: shape("text", { x: round(BAR * (i + 0.5)), y: SIZE - 6 }, value),
    }));
    const chart = shape("svg", { viewBox: `0 0 ${SIZE} ${SIZE}`, class: "play-shares", role: "img" },
      shape("path", { d: `M0 ${SIZE - FOOT}H${SIZE}`, class: "play-frame" }),
      ...bars.flatMap(({ bar, share, name }) => [bar, share, name]));
    const verdict = element("output", { class: "play-verdict", role: "status", "aria-live": "polite" });

    function slider(name, label, min, max, step, move) {
      const input = element("input", { type: "range", id: `${id}-${name}`, min, max, step });
      const shown = element("output", { for: input.id });
      input.addEventListener("input", () => {
        move(clamp(Number(input.value), min, max));
        draw();
      });
      const row = element("div", { class: "play-slider" }, element("label", { for: input.id }, label), input, shown);
      return { row, show: (value, text) => {
        input.value = value;
        input.setAttribute("aria-valuetext", text);
        shown.textContent = text;
      } };
    }
    const turn = slider("angle", "Direction", 0, 359, 1, (value) => { angle = value; });
    const stretch = slider("length", "Length", SHORT, LONG, 0.5, (value) => { length = value; });

    grip.addEventListener("pointerdown", (event) => {
      grip.setPointerCapture(event.pointerId);
      event.preventDefault();
    });
    grip.addEventListener("pointermove", (event) => {
      if (!grip.hasPointerCapture(event.pointerId)) return;
      const box = plane.getBoundingClientRect();
      const x = event.clientX - box.left - box.width / 2;
      const y = box.height / 2 - (event.clientY - box.top);
      angle = (Math.round(Math.atan2(y, x) * 180 / Math.PI) + 360) % 360;
      draw();
    });

    function draw() {
      const { weights, answer } = look(angle, length);
      const towards = [Math.cos(angle * Math.PI / 180), Math.sin(angle * Math.PI / 180)];
      const reach = RADIUS * (0.25 + 0.6 * Math.sqrt(length / LONG)); // longer for a longer query, within the circle
      const [x, y] = place(towards, reach);
      const [u, v] = [towards[0], -towards[1]];
      const wing = (side) => `M${x} ${y}l${round(-10 * u + side * 5 * v)} ${round(-10 * v - side * 5 * u)}`;
      arrow.setAttribute("d", length > 0 ? `M${MIDDLE} ${MIDDLE}L${x} ${y}${wing(1)}${wing(-1)}` : "");
      grip.setAttribute("cx", x);
      grip.setAttribute("cy", y);
      dots.forEach((dot, i) => dot.setAttribute("r", round(4 + 12 * Math.sqrt(weights[i]))));
      bars.forEach(({ bar, share }, i) => {
        const tall = round((SIZE - FOOT - HEAD) * weights[i]);
        bar.setAttribute("height", tall);
        bar.setAttribute("y", SIZE - FOOT - tall);
        share.setAttribute("y", SIZE - FOOT - tall - 5);
        share.textContent = weights[i] < 0.01 ? "" : Math.round(100 * weights[i]);
      });
      turn.show(angle, `${angle}°`);
      stretch.show(length, String(length));
      const best = weights.indexOf(Math.max(...weights));
      const words = length > 0 ? `the key of ${VALUES[best]} has ${percent(weights[best])} of the weight`
        : "all keys have the same weight";
      verdict.textContent = `At length ${length} ${words}; the answer is ${answer.toFixed(1)}.`;
      const all = weights.map((w, i) => `${VALUES[i]}: ${percent(w)}`).join(", ");
      chart.setAttribute("aria-label", `Weights of the values: ${all}`);
      plane.setAttribute("aria-label", `Six keys on a circle, and a query of length ${length} at ${angle} degrees`);
    }

    draw();
    return element("div", { class: "play-app" },
      element("div", { class: "play-panels" },
        element("figure", {}, plane, element("figcaption", {}, "Keys with their values; a dot is as large as its weight. The arrow is the query: turn it.")),
        element("figure", {}, chart, element("figcaption", {}, "The weights in percent."))),
      turn.row, stretch.row, verdict);
  }

  mount("lookup", build);
})();
