/* A bowl on which the reader lets optimizers run.

   <div class="play" data-play="momentum-bowl">a still picture or a sentence</div>

   becomes two drawings: the path of the method over f(x, y) = (10 / kappa x^2 + 10 y^2) / 2, which for kappa = 10 is
   the chapter's bowl of curvatures 1 and 10, and the plane of learning rate and momentum, shaded by the steps that each
   setting needs. What stood inside remains where no script runs. data-method, data-lr, data-momentum and data-kappa
   choose where the reader begins.

   window.DLE.optimizers holds the arithmetic: path, loss, rate, fastest and steps. The updates are those of
   torch.optim.SGD and torch.optim.Adam, and tests/book/test_play.py compares them. */
(function () {
  "use strict";

  // The arithmetic -------------------------------------------------------------------------------------------------

  const TOLERANCE = 1e-3;
  const HORIZON = 10000;
  const LARGEST = 10; // the curvature across the floor, that of the chapter's bowl

  /* One coordinate's update for each method: (gradient, state, settings) -> how far to move. */
  const UPDATES = {
    gd: (g, state, { lr }) => lr * g,
    momentum: (g, state, { lr, momentum }) => {
      state.v = momentum * state.v + g;
      return lr * state.v;
    },
    nesterov: (g, state, { lr, momentum }) => {
      state.v = momentum * state.v + g;
      return lr * (g + momentum * state.v);
    },
    adam: (g, state, { lr, momentum, beta2 = 0.999, eps = 1e-8 }) => {
      state.t += 1;
      state.m += (1 - momentum) * (g - state.m);
      state.s = beta2 * state.s + (1 - beta2) * g * g;
      const mean = state.m / (1 - momentum ** state.t);
      const scale = Math.sqrt(state.s / (1 - beta2 ** state.t));
      return (lr * mean) / (scale + eps);
    },
  };

  const NAMES = { gd: "gradient descent", momentum: "momentum", nesterov: "Nesterov", adam: "Adam" };

  const curvatures = (kappa) => [LARGEST / kappa, LARGEST];

  const loss = ([x, y], kappa) => {
    const [floor, wall] = curvatures(kappa);
    return (floor * x * x + wall * y * y) / 2;
  };

  /* Walk from settings.start and call visit(point, step) after each step until it returns false. */
  function walk(method, settings, visit) {
    const update = UPDATES[method];
    if (!update) throw new Error(`method "${method}": one of ${Object.keys(UPDATES).join(", ")}`);
    const curvature = curvatures(settings.kappa);
    const states = curvature.map(() => ({ v: 0, m: 0, s: 0, t: 0 }));
    const point = [...settings.start];
    for (let step = 1; ; step++) {
      for (let i = 0; i < 2; i++) point[i] -= update(curvature[i] * point[i], states[i], settings);
      if (visit(point, step) === false) return;
    }
  }

  /* The start and the points after each of settings.steps steps. */
  function path(method, settings) {
    const points = [[...settings.start]];
    if (settings.steps < 1) return points;
    walk(method, settings, (point, step) => {
      points.push([...point]);
      return step < settings.steps;
    });
    return points;
  }

  /* The factor by which a step shrinks the distance in the long run: the larger spectral radius of the two
     coordinates. NaN for Adam, whose update is not linear. */
  function rate(method, { lr, momentum, kappa }) {
    if (method === "adam") return NaN;
    const beta = method === "gd" ? 0 : momentum;
    return Math.max(...curvatures(kappa).map((curvature) => {
      const shrink = 1 - lr * curvature;
      // x(t+1) = trace x(t) - det x(t-1)
      const trace = method === "nesterov" ? (1 + beta) * shrink : beta + shrink;
      const det = method === "nesterov" ? beta * shrink : beta;
      const below = trace * trace / 4 - det;
      return below < 0 ? Math.sqrt(det) : Math.abs(trace) / 2 + Math.sqrt(below);
    }));
  }

  /* The learning rate and the momentum with the smallest factor; null for Adam. */
  function fastest(method, kappa) {
    const root = Math.sqrt(kappa);
    const sharp = Math.sqrt(3 * kappa + 1);
    return {
      gd: { lr: 2 / (1 + 1 / kappa) / LARGEST, momentum: 0 },
      momentum: { lr: (2 / (1 + 1 / root)) ** 2 / LARGEST, momentum: ((root - 1) / (root + 1)) ** 2 },
      nesterov: { lr: 4 / (3 + 1 / kappa) / LARGEST, momentum: (sharp - 2) / (sharp + 2) },
    }[method] || null;
  }

  /* How many steps until the distance to the minimum is at most a thousandth of the first: {steps, diverges, leaves}.
     For good, except for Adam, for which the first arrival counts and `leaves` says that it does not stay: where the
     gradients vanish, so does their running scale, and the steps grow again. Infinity means more than `horizon`. */
  function steps(method, settings, horizon = HORIZON) {
    const near = TOLERANCE * Math.hypot(...settings.start);
    if (near === 0) return { steps: 0, diverges: false, leaves: false };
    let arrival = Infinity;
    let settled = 1;
    let lost = false;
    walk(method, settings, (point, step) => {
      const distance = Math.hypot(point[0], point[1]);
      if (distance <= near) arrival = Math.min(arrival, step);
      else settled = step + 1;
      lost = !(distance < 1e9 * near);
      return !lost && step < horizon;
    });
    if (lost || settled > horizon) settled = Infinity;
    if (method === "adam") return { steps: arrival, diverges: false, leaves: settled > arrival };
    const diverges = lost || (settled === Infinity && rate(method, settings) > 1 + 1e-9);
    return { steps: settled, diverges, leaves: false };
  }

  /* The step on which Adam first arrives, Infinity when not within `horizon`: `steps` in less time. */
  function arrival(settings, horizon) {
    const near = TOLERANCE * Math.hypot(...settings.start);
    let found = Infinity;
    walk("adam", settings, (point, step) => {
      if (Math.hypot(point[0], point[1]) <= near) found = step;
      return found === Infinity && step < horizon;
    });
    return found;
  }

  window.DLE.optimizers = { path, loss, rate, fastest, steps };

  // The drawing ----------------------------------------------------------------------------------------------------

  const { element, shape, clamp, minus, round, mount } = window.DLE.play;
  const WIDTH = 360;
  const BOWL = { height: 264, x: 3, y: 2.2, unit: 60 }; // ranges of the coordinates to either side of the minimum
  const PLANE = { height: 264, left: 54, right: 10, top: 8, bottom: 40 };
  const LIMITS = { gd: 0.42, momentum: 0.42, nesterov: 0.42, adam: 1 }; // the largest learning rate shown
  const TICKS = { gd: 0.1, momentum: 0.1, nesterov: 0.1, adam: 0.25 };
  const BANDS = [10, 20, 50, 100, 300, 1000];
  const BLUE = [35, 112, 200];
  const OPACITY = [1, 0.78, 0.58, 0.42, 0.28, 0.16, 0.07]; // a band each, and one for what is slower than the last
  const ADAM = { columns: 64, rows: 44, horizon: 1000 };
  const SHOWN = 300; // steps drawn
  const DRAGGED = ".play-grip, .play-start, .play-setting";

  function build(root, id) {
    const given = (name, otherwise) => {
      const value = Number(root.dataset[name]);
      return root.dataset[name] !== undefined && Number.isFinite(value) ? value : otherwise;
    };
    const state = {
      method: root.dataset.method in UPDATES ? root.dataset.method : "momentum",
      lr: given("lr", 0.15),
      momentum: given("momentum", 0.5),
      kappa: clamp(given("kappa", 10), 1, 100),
      start: [-2, 0.9],
    };
    let spare = state.method === "adam" ? 0.15 : 0.1; // Adam's step is a distance: it has a learning rate of its own

    // Controls

    const methods = element("fieldset", { class: "play-methods" }, element("legend", {}, "Method"));
    const radios = Object.entries(NAMES).map(([method, name]) => {
      const radio = element("input", { type: "radio", name: `${id}-method`, value: method });
      methods.append(element("label", {}, radio, ` ${name}`));
      radio.addEventListener("change", () => set({ method }));
      return radio;
    });

    function slider(name, text, attributes, read) {
      const input = element("input", { type: "range", id: `${id}-${name}`, ...attributes });
      const output = element("output", { for: input.id });
      input.addEventListener("input", () => set(read(Number(input.value))));
      const node = element("div", { class: "play-slider" }, element("label", { for: input.id }, text), input, output);
      return {
        node,
        show(position, shown) {
          input.value = position;
          output.textContent = shown;
          input.setAttribute("aria-valuetext", shown);
        },
        input,
      };
    }

    const sliders = {
      lr: slider("lr", "Learning rate", { min: 0, max: 0.42, step: 0.002 }, (lr) => ({ lr })),
      momentum: slider("momentum", "Momentum \u03c1", { min: 0, max: 0.99, step: 0.01 }, (momentum) => ({ momentum })),
      kappa: slider("kappa", "Condition number \u03ba", { min: 0, max: 2, step: 0.01 }, (power) => (
        { kappa: Math.round(10 ** power * 10) / 10 })),
    };
    const verdict = element("output", { class: "play-verdict", role: "status", "aria-live": "polite" });
    const run = element("button", { type: "button", class: "play-run" }, "Watch it run");

    // The bowl

    const bowl = shape("svg", { viewBox: `0 0 ${WIDTH} ${BOWL.height}`, class: "play-bowl", role: "group" });
    bowl.setAttribute("aria-label", "Level lines of the bowl and the path of the method");
    const frame = { x: 1, y: 1, width: WIDTH - 2, height: BOWL.height - 2 };
    const clip = shape("clipPath", { id: `${id}-clip` }, shape("rect", frame));
    const inside = shape("g", { "clip-path": `url(#${id}-clip)` });
    const levels = shape("g", { class: "play-levels" });
    const minimum = shape("path", { class: "play-minimum" });
    const trace = shape("path", { class: "play-trace" });
    const dots = shape("path", { class: "play-dots" });
    const ball = shape("circle", { class: "play-ball", r: 6, visibility: "hidden" });
    const handle = shape("circle", { class: "play-start", r: 9, tabindex: 0, role: "slider" });
    const grip = shape("circle", { class: "play-grip", r: 24 });
    handle.setAttribute("aria-label", "Start of the path; the arrow keys move it");
    handle.setAttribute("aria-valuemin", -BOWL.x);
    handle.setAttribute("aria-valuemax", BOWL.x);
    inside.append(levels, minimum, trace, dots, ball, grip, handle);
    bowl.append(clip, shape("rect", { ...frame, class: "play-frame" }), inside);

    const toX = (x) => WIDTH / 2 + BOWL.unit * x;
    const toY = (y) => BOWL.height / 2 - BOWL.unit * y;
    minimum.setAttribute("d", `M${toX(0) - 4},${toY(0)}h8M${toX(0)},${toY(0) - 4}v8`);

    // The plane

    const plane = element("div", { class: "play-plane" });
    const canvas = element("canvas", { "aria-hidden": "true" });
    const axes = shape("svg", { viewBox: `0 0 ${WIDTH} ${PLANE.height}`, role: "img" });
    const inner = { width: WIDTH - PLANE.left - PLANE.right, height: PLANE.height - PLANE.top - PLANE.bottom };
    const ticks = shape("g", { class: "play-ticks" });
    const best = shape("path", { class: "play-best" });
    const limit = shape("path", { class: "play-best", "stroke-dasharray": "6 4" });
    const damping = shape("path", { fill: "none" });
    const current = shape("circle", { class: "play-setting", r: 7 });
    const currentGrip = shape("circle", { class: "play-grip", r: 24 });
    axes.append(
      shape("rect", { x: PLANE.left, y: PLANE.top, ...inner, class: "play-frame" }), ticks, limit, best, currentGrip, current,
    );
    Object.assign(canvas.style, {
      left: `${100 * PLANE.left / WIDTH}%`,
      top: `${100 * PLANE.top / PLANE.height}%`,
      width: `${100 * inner.width / WIDTH}%`,
      height: `${100 * inner.height / PLANE.height}%`,
    });
    plane.append(canvas, axes);
    const toLr = (lr) => PLANE.left + inner.width * lr / LIMITS[state.method];
    const toMomentum = (momentum) => PLANE.top + inner.height * (1 - momentum);

    const key = element("p", { class: "play-key" }, "Steps to a thousandth of the distance: ");
    BANDS.forEach((band, i) => {
      const patch = element("i");
      patch.style.background = `rgba(${BLUE}, ${OPACITY[i]})`;
      key.append(element("span", {}, patch, i === 0 ? `up to ${band}` : band.toLocaleString("en")), " ");
    });
    const slower = element("i");
    slower.style.background = `rgba(${BLUE}, ${OPACITY[BANDS.length]})`;
    key.append(element("span", {}, slower, "more"), " ", element("span", {}, element("i"), "never"));

    const bowlCaption = element("figcaption", {}, "The path: move the ring to start elsewhere.");
    const planeCaption = element("figcaption");
    const app = element(
      "div", { class: "play-app" },
      methods,
      element("div", { class: "play-panels" },
        element("figure", {}, bowl, bowlCaption),
        element("figure", {}, plane, planeCaption)),
      key,
      element("div", { class: "play-controls" }, ...Object.values(sliders).map((s) => s.node)),
      element("div", { class: "play-foot" }, run, verdict),
    );

    // Drawing

    function place(circles, x, y) {
      for (const circle of circles) {
        circle.setAttribute("cx", round(x));
        circle.setAttribute("cy", round(y));
      }
    }

    function drawLevels() {
      levels.replaceChildren();
      const across = Math.sqrt(state.kappa);
      const highest = Math.hypot(BOWL.x / across, BOWL.y);
      for (let y = 0.3; y < highest; y += 0.3) {
        levels.append(shape("ellipse", {
          cx: toX(0), cy: toY(0), rx: round(BOWL.unit * y * across), ry: round(BOWL.unit * y),
        }));
      }
    }

    function drawPath() {
      const points = [];
      for (const [x, y] of path(state.method, { ...state, steps: SHOWN })) {
        points.push([round(clamp(toX(x), -1e4, 1e4)), round(clamp(toY(y), -1e4, 1e4))]);
        if (!(Math.hypot(x, y) < 100)) break; // far outside the picture
      }
      trace.setAttribute("d", `M${points.join("L")}`);
      dots.setAttribute("d", points.map((point) => `M${point}h0`).join(""));
      const [x, y] = state.start;
      place([handle, grip], toX(x), toY(y));
      handle.setAttribute("aria-valuenow", x.toFixed(1));
      handle.setAttribute("aria-valuetext", minus(`x = ${x.toFixed(1)}, `) + minus(`y = ${y.toFixed(1)}`));
      return points;
    }

    function drawVerdict() {
      const result = steps(state.method, state);
      const factor = rate(state.method, state);
      const words = result.diverges ? "diverges"
        : result.steps < Infinity ? `${result.steps.toLocaleString("en")} steps to a thousandth of the distance`
        : `not there after ${HORIZON.toLocaleString("en")} steps`;
      const long = Number.isFinite(factor)
        ? ` In the long run a step multiplies the distance by ${factor.toFixed(3)}.`
        : result.leaves && result.steps < Infinity
        ? " It will not stay: as gradients vanish, Adam's steps grow again." : "";
      verdict.replaceChildren(`${NAMES[state.method][0].toUpperCase()}${NAMES[state.method].slice(1)}: `,
        element("strong", {}, words), `.${long}`);
      root.dataset.verdict = result.diverges ? "diverges" : String(result.steps);
    }

    function drawTicks() {
      ticks.replaceChildren(damping);
      const bottom = PLANE.top + inner.height;
      const text = (x, y, words, anchor) => shape("text", { x, y, "text-anchor": anchor }, words);
      for (let i = 0; i * TICKS[state.method] <= LIMITS[state.method]; i++) {
        const lr = round(i * TICKS[state.method]);
        const x = toLr(lr);
        ticks.append(shape("path", { d: `M${x},${bottom}v4` }));
        ticks.append(text(x, bottom + 17, String(lr), lr === LIMITS[state.method] ? "end" : "middle"));
      }
      for (let momentum = 0; momentum <= 1; momentum += 0.25) {
        const y = toMomentum(momentum);
        ticks.append(shape("path", { d: `M${PLANE.left},${y}h-4` }));
        ticks.append(text(PLANE.left - 7, y + 4, String(momentum), "end"));
      }
      ticks.append(text(PLANE.left + inner.width / 2, PLANE.height - 5, "learning rate", "middle"));
      const upright = text(0, 0, "momentum \u03c1", "middle");
      upright.setAttribute("transform", `translate(13, ${PLANE.top + inner.height / 2}) rotate(-90)`);
      ticks.append(upright);
    }

    function drawShade() {
      const adam = state.method === "adam";
      const method = state.method === "gd" ? "momentum" : state.method; // descent is momentum 0
      const density = Math.min(2, window.devicePixelRatio || 1);
      const columns = adam ? ADAM.columns : Math.round(inner.width * density);
      const rows = adam ? ADAM.rows : Math.round(inner.height * density);
      canvas.width = columns;
      canvas.height = rows;
      canvas.style.imageRendering = adam ? "pixelated" : "auto";
      const context = canvas.getContext("2d");
      const image = context.createImageData(columns, rows);
      for (let row = 0; row < rows; row++) {
        for (let column = 0; column < columns; column++) {
          const setting = {
            lr: LIMITS[method] * (column + 0.5) / columns,
            momentum: 1 - (row + 0.5) / rows,
            kappa: state.kappa,
            start: state.start,
          };
          const factor = rate(method, setting);
          const needed = adam ? arrival(setting, ADAM.horizon) : Math.log(TOLERANCE) / Math.log(factor);
          const band = BANDS.findIndex((limit) => needed <= limit);
          const alpha = factor >= 1 ? 0 : OPACITY[band >= 0 ? band : BANDS.length];
          image.data.set([...BLUE, 255 * alpha], 4 * (row * columns + column));
        }
      }
      context.putImageData(image, 0, 0);
    }

    /* Momenta from `low` to 1 for a curve, closer where the curve is steep. */
    const along = (low) => Array.from({ length: 121 }, (_, i) => low + (1 - low) * (i / 120) ** 2);

    function star(x, y) {
      const corners = Array.from({ length: 10 }, (_, i) => {
        const [angle, radius] = [Math.PI * i / 5, i % 2 ? 3 : 7.5];
        return [round(x + radius * Math.sin(angle)), round(y - radius * Math.cos(angle))];
      });
      return `M${corners.join("L")}Z`;
    }

    function drawSetting() {
      const momentum = state.method === "gd" ? 0 : state.momentum;
      place([current, currentGrip], toLr(state.lr), toMomentum(momentum));
      const optimum = fastest(state.method, state.kappa);
      best.setAttribute("d", optimum ? star(toLr(optimum.lr), toMomentum(optimum.momentum)) : "");
      const [floor, wall] = curvatures(state.kappa);
      const curve = (lr, low = 0) => along(low).map((rho) => [round(toLr(lr(rho))), round(toMomentum(rho))]);
      const lines = { // the chapter's: where it stops to converge, and where each direction is critically damped
        limit: curve((rho) => 2 * (1 + rho) / wall),
        floor: curve((rho) => (1 - Math.sqrt(rho)) ** 2 / floor, Math.max(0, 1 - Math.sqrt(LIMITS.momentum * floor)) ** 2),
        wall: curve((rho) => (1 + Math.sqrt(rho)) ** 2 / wall),
      };
      const heavy = state.method === "momentum";
      limit.setAttribute("d", heavy ? `M${lines.limit.join("L")}` : "");
      damping.setAttribute("d", heavy ? `M${lines.floor.join("L")}M${lines.wall.join("L")}` : "");
      planeCaption.textContent = {
        gd: "Every learning rate and momentum: the dot moves along momentum 0. The star is the fastest.",
        momentum: "Every learning rate and momentum: move the dot. The star, where both directions are critically damped, is the "
          + "fastest; beyond the dashed line momentum diverges.",
        adam: "Every learning rate and momentum (\u03b2\u2081), measured from this start in 1,000 steps.",
      }[state.method] || "Every learning rate and momentum: move the dot. The star is the fastest.";
      axes.setAttribute("aria-label", `Steps needed for each learning rate and momentum; now learning rate ${
        state.lr.toFixed(3)}, momentum ${momentum.toFixed(2)}`);
    }

    let pending = false;
    function shadeSoon() { // once a frame is enough
      if (pending) return;
      pending = true;
      requestAnimationFrame(() => {
        pending = false;
        drawShade();
      });
    }

    function set(change) {
      stop();
      if ("method" in change && (change.method === "adam") !== (state.method === "adam")) {
        [state.lr, spare] = [spare, state.lr];
      }
      Object.assign(state, change);
      state.lr = clamp(state.lr, 0, LIMITS[state.method]);
      state.momentum = clamp(state.momentum, 0, 0.99);
      state.start = [clamp(state.start[0], -BOWL.x, BOWL.x), clamp(state.start[1], -BOWL.y, BOWL.y)];
      radios.forEach((radio) => { radio.checked = radio.value === state.method; });
      sliders.lr.input.max = LIMITS[state.method];
      sliders.lr.input.step = state.method === "adam" ? 0.01 : 0.002;
      sliders.lr.show(state.lr, state.lr.toFixed(3));
      sliders.momentum.show(state.momentum, state.method === "gd" ? "\u2013" : state.momentum.toFixed(2));
      sliders.momentum.input.disabled = state.method === "gd";
      sliders.kappa.show(Math.log10(state.kappa), String(state.kappa < 10 ? state.kappa : Math.round(state.kappa)));
      if ("kappa" in change) drawLevels();
      if ("method" in change) drawTicks();
      if ("kappa" in change || "method" in change || ("start" in change && state.method === "adam")) shadeSoon();
      drawPath();
      drawSetting();
      drawVerdict();
    }

    // Motion, which the reader starts

    let timer = 0;
    function stop() {
      cancelAnimationFrame(timer);
      timer = 0;
      ball.setAttribute("visibility", "hidden");
      bowl.classList.remove("play-running");
      run.textContent = "Watch it run";
    }
    run.addEventListener("click", () => {
      if (timer) return stop();
      const points = drawPath();
      const began = performance.now();
      ball.setAttribute("visibility", "visible");
      bowl.classList.add("play-running");
      run.textContent = "Stop";
      const pace = Math.max(8, points.length / 15); // steps a second: never longer than a quarter of a minute
      const move = (now) => {
        const walked = Math.max(0, now - began) / 1000 * pace;
        const step = Math.floor(walked);
        if (step >= points.length - 1) return stop();
        const [from, to] = [points[step], points[step + 1]];
        const part = walked - step;
        place([ball], from[0] + part * (to[0] - from[0]), from[1] + part * (to[1] - from[1]));
        timer = requestAnimationFrame(move);
      };
      timer = requestAnimationFrame(move);
    });

    // Pointer and keys

    /* A mouse drags from anywhere. A finger drags the ring or the dot, taps elsewhere, and scrolls the page. */
    function draggable(surface, moved) {
      const follow = (event) => {
        const box = surface.getBoundingClientRect();
        moved((event.clientX - box.left) * WIDTH / box.width, (event.clientY - box.top) * WIDTH / box.width);
      };
      let dragged = null; // the id of the pointer that drags
      let tapped = null; // where a finger came down beside the ring or the dot
      surface.addEventListener("pointerdown", (event) => {
        if (event.button) return;
        if (event.pointerType === "touch" && !event.target.matches(DRAGGED)) {
          tapped = event;
          return;
        }
        dragged = event.pointerId;
        surface.setPointerCapture(dragged);
        follow(event);
      });
      surface.addEventListener("pointermove", (event) => {
        if (event.pointerId === dragged) follow(event);
      });
      surface.addEventListener("pointerup", (event) => {
        const still = tapped && Math.hypot(event.clientX - tapped.clientX, event.clientY - tapped.clientY) < 10;
        if (still && event.pointerId === tapped.pointerId) follow(event);
        dragged = tapped = null;
      });
      surface.addEventListener("pointercancel", () => { dragged = tapped = null; });
    }
    draggable(bowl, (x, y) => set({
      start: [(x - WIDTH / 2) / BOWL.unit, (BOWL.height / 2 - y) / BOWL.unit],
    }));
    draggable(axes, (x, y) => {
      const lr = Math.round((x - PLANE.left) / inner.width * LIMITS[state.method] * 500) / 500;
      const momentum = Math.round((1 - (y - PLANE.top) / inner.height) * 100) / 100;
      set(state.method === "gd" ? { lr } : { lr, momentum });
    });
    handle.addEventListener("keydown", (event) => {
      const move = { ArrowLeft: [-0.1, 0], ArrowRight: [0.1, 0], ArrowUp: [0, 0.1], ArrowDown: [0, -0.1] }[event.key];
      if (!move) return;
      event.preventDefault();
      set({ start: [state.start[0] + move[0], state.start[1] + move[1]] });
    });

    set({ method: state.method, kappa: state.kappa, start: state.start });
    return app;
  }

  mount("momentum-bowl", build);
})();
