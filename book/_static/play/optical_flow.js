/* The aperture problem: a bar moves behind a round hole, and the hole shows only what happens across the bar's edge.

   <div class="play" data-play="aperture">a sentence for where no script runs</div>

   Angles are in degrees; motions are [right, down] in pixels, as on the page. */
(function () {
  "use strict";

  const { element, shape, clamp, minus, round, mount } = window.DLE.play;

  const toward = (angle) => [Math.cos(angle * Math.PI / 180), -Math.sin(angle * Math.PI / 180)];
  const dot = (a, b) => a[0] * b[0] + a[1] * b[1];

  /* Of a motion, the part across an edge that runs at an angle: all that a hole on the edge shows. */
  function seen(motion, edge) {
    const across = toward(edge + 90);
    const part = dot(motion, across);
    return across.map((x) => part * x);
  }

  window.DLE.optical_flow = { seen, toward };

  const SIZE = 260; // of both panels
  const MIDDLE = SIZE / 2;
  const HOLE = 62;
  const [LONG, WIDE] = [96, 26]; // the bar; its ends stay hidden while it moves
  const PIXEL = 32; // a pixel of motion, on the screen
  const AXIS = 80; // a pixel of motion, in the plane of motions

  const number = (x) => minus((Math.abs(x) < 0.05 ? 0 : x).toFixed(1));
  const at = ([x, y], scale) => [MIDDLE + scale * x, MIDDLE + scale * y].map(round);

  function arrow(name) {
    const node = shape("path", { class: `play-arrow play-${name}` });
    const point = (motion, scale) => {
      const [x, y] = at(motion, scale);
      const length = Math.hypot(...motion) * scale;
      if (length < 4) return node.setAttribute("d", "");
      const [u, v] = motion.map((m) => m * scale / length);
      const wing = (side) => `M${x} ${y}l${round(-9 * u + side * 5 * v)} ${round(-9 * v - side * 5 * u)}`;
      node.setAttribute("d", `M${MIDDLE} ${MIDDLE}L${x} ${y}${wing(1)}${wing(-1)}`);
    };
    return { node, point };
  }

  function build(root, id) {
    const state = { direction: 0, edge: 45, moment: 0, open: false };

    const bar = shape("rect", { x: -LONG, y: -WIDE / 2, width: 2 * LONG, height: WIDE, class: "play-bar-moves" });
    const cut = shape("clipPath", { id: `${id}-hole` }, shape("circle", { cx: MIDDLE, cy: MIDDLE, r: HOLE }));
    const window_ = shape("g", {}, bar);
    const rim = shape("circle", { cx: MIDDLE, cy: MIDDLE, r: HOLE, class: "play-rim" });
    const screen = shape("path", { class: "play-screen", "fill-rule": "evenodd",
      d: `M0 0H${SIZE}V${SIZE}H0ZM${MIDDLE - HOLE} ${MIDDLE}a${HOLE} ${HOLE} 0 1 0 ${2 * HOLE} 0a${HOLE} ${HOLE} 0 1 0 ${-2 * HOLE} 0` });
    const scene = shape("svg", { viewBox: `0 0 ${SIZE} ${SIZE}`, role: "img", class: "play-hole" }, cut, window_, screen, rim);

    const fits = shape("path", { class: "play-fits" });
    const [truth, shown] = [arrow("truth"), arrow("shown")];
    const plane = shape("svg", { viewBox: `0 0 ${SIZE} ${SIZE}`, role: "img", class: "play-hole" },
      shape("path", { class: "play-frame", d: `M0 ${MIDDLE}H${SIZE}M${MIDDLE} 0V${SIZE}` }),
      shape("text", { x: SIZE - 4, y: MIDDLE - 6, "text-anchor": "end" }, "right"),
      shape("text", { x: MIDDLE + 6, y: SIZE - 6 }, "down"),
      fits, truth.node, shown.node);

    function slider(name, label, low, high, step, unit) {
      const input = element("input", { type: "range", id: `${id}-${name}`, min: low, max: high, step });
      const output = element("output", { for: input.id });
      input.addEventListener("input", () => {
        state[name] = clamp(Number(input.value), low, high);
        draw();
      });
      return {
        line: element("div", { class: "play-slider" }, element("label", { for: input.id }, label), input, output),
        show() {
          input.value = state[name];
          output.textContent = minus(state[name]) + unit;
        },
      };
    }
    const sliders = [
      slider("moment", "Move it", -1, 1, 0.05, ""),
      slider("direction", "True direction", -180, 180, 5, "\u00b0"),
      slider("edge", "Slope of the bar", 0, 175, 5, "\u00b0"),
    ];
    const lift = element("input", { type: "checkbox", id: `${id}-open` });
    lift.addEventListener("change", () => {
      state.open = lift.checked;
      draw();
    });
    const verdict = element("output", { class: "play-verdict", role: "status", "aria-live": "polite" });

    function draw() {
      const motion = toward(state.direction);
      const part = seen(motion, state.edge);
      const along = toward(state.edge);
      const [x, y] = at(motion, PIXEL * state.moment);
      bar.setAttribute("transform", `translate(${x} ${y}) rotate(${-state.edge})`);
      if (state.open) window_.removeAttribute("clip-path");
      else window_.setAttribute("clip-path", `url(#${id}-hole)`);
      for (const node of [screen, rim]) node.toggleAttribute("hidden", state.open);
      const [from, to] = [-3, 3].map((far) => at(part.map((p, i) => p + far * along[i]), AXIS));
      fits.setAttribute("d", `M${from.join(" ")}L${to.join(" ")}`);
      truth.point(motion, AXIS);
      shown.point(part, AXIS);
      sliders.forEach(({ show }) => show());
      const rests = Math.hypot(...part) < 0.05;
      const alike = Math.hypot(part[0] - motion[0], part[1] - motion[1]) < 0.05;
      verdict.textContent = `The bar moves by ${number(motion[0])} to the right and ${number(motion[1])} down. Through the hole it seems to ${
        rests ? "rest: it slides along its own edge"
          : `move by ${number(part[0])} and ${number(part[1])}${alike ? ", which is right: it moves straight across its edge"
            : ", straight across its edge"}`}.`;
      scene.setAttribute("aria-label", state.open ? "The whole bar" : "A bar, seen through a round hole that hides its ends");
      plane.setAttribute("aria-label", `The true motion, ${number(motion[0])} right and ${number(motion[1])} down; the seen one, ${
        number(part[0])} and ${number(part[1])}; and the line of all that look the same`);
    }

    draw();
    return element("div", { class: "play-app" },
      element("div", { class: "play-panels play-pair" },
        element("figure", {}, scene, element("figcaption", {}, "A bar behind a screen with a hole.")),
        element("figure", {}, plane, element("figcaption", {},
          "Motions in pixels. Orange: the true one; blue: the seen one; dashed: all that look the same through the hole."))),
      ...sliders.map(({ line }) => line),
      element("label", { class: "play-lift", for: lift.id }, lift, "Take the screen away"), verdict);
  }

  mount("aperture", build);
})();
