/* Where foreground and background balance under focal loss: the reader turns γ, α and the share of the foreground.

   <div class="play" data-play="focal">a sentence for where no script runs</div> */
(function () {
  "use strict";

  const { element, shape, clamp, round, mount } = window.DLE.play;

  /* Size of the gradient of one pixel's logit, for a network that says p: (Lin et al. 2017, equation 5, derived). */
  const foreground = (p, gamma, alpha) => alpha * (1 - p) ** gamma * (1 - p - gamma * p * Math.log(p));
  const background = (p, gamma, alpha) => foreground(1 - p, gamma, 1 - alpha);

  /* The constant answer at which all foreground pixels pull as hard as all background pixels. */
  function balance(gamma, alpha, share) {
    let [low, high] = [1e-9, 1 - 1e-9];
    for (let i = 0; i < 60; i += 1) {
      const p = (low + high) / 2;
      const up = share * foreground(p, gamma, alpha) > (1 - share) * background(p, gamma, alpha);
      if (up) low = p; else high = p;
    }
    return (low + high) / 2;
  }

  window.DLE.segmentation_losses = { foreground, background, balance };

  const [WIDE, HIGH, LEFT, FOOT, HEAD] = [360, 250, 14, 34, 10];
  const [FIRST, LAST] = [-7, 7]; // logits
  const [LOWEST, HIGHEST] = [-5, 0]; // powers of ten
  const across = (p) => LEFT + (WIDE - 2 * LEFT) * (Math.log(p / (1 - p)) - FIRST) / (LAST - FIRST);
  const down = (pull) => HEAD + (HIGH - FOOT - HEAD) * (HIGHEST - clamp(Math.log10(pull), LOWEST, HIGHEST)) / (HIGHEST - LOWEST);
  const sigmoid = (z) => 1 / (1 + Math.exp(-z));
  const percent = (p) => `${(100 * p).toPrecision(2).replace(/\.0$/, "")} %`;

  function build(root, id) {
    const setting = { gamma: 2, alpha: 0.25, power: -2 };

    const lines = { foreground: shape("path", { class: "play-rising" }), background: shape("path", { class: "play-falling" }) };
    const meeting = shape("path", { class: "play-meeting" });
    const ticks = [0.001, 0.01, 0.1, 0.5, 0.9, 0.99, 0.999].flatMap((p) => [
      shape("path", { class: "play-tick", d: `M${round(across(p))} ${HIGH - FOOT}v4` }),
      shape("text", { x: round(across(p)), y: HIGH - FOOT + 16 }, String(p)),
    ]);
    const chart = shape("svg", { viewBox: `0 0 ${WIDE} ${HIGH}`, class: "play-pulls", role: "img" },
      shape("path", { class: "play-frame", d: `M0 ${HIGH - FOOT}H${WIDE}` }), ...ticks,
      shape("text", { x: WIDE / 2, y: HIGH - 3 }, "what the network says everywhere, p"), meeting, ...Object.values(lines));
    const verdict = element("output", { class: "play-verdict", role: "status", "aria-live": "polite" });

    const rows = [
      ["gamma", "Focusing γ", 0, 5, 0.1, (x) => x.toFixed(1)],
      ["alpha", "Weight α", 0.05, 0.95, 0.05, (x) => x.toFixed(2)],
      ["power", "Share of foreground", -3, -0.3, 0.1, (x) => percent(10 ** x)],
    ].map(([name, words, min, max, step, text]) => {
      const input = element("input", { type: "range", id: `${id}-${name}`, min, max, step, value: setting[name] });
      const shown = element("output", { for: input.id });
      const show = () => {
        shown.textContent = text(setting[name]);
        input.setAttribute("aria-valuetext", text(setting[name]));
      };
      input.addEventListener("input", () => {
        setting[name] = clamp(Number(input.value), min, max);
        show();
        draw();
      });
      show();
      return element("div", { class: "play-slider" }, element("label", { for: input.id }, words), input, shown);
    });

    function draw() {
      const { gamma, alpha, power } = setting;
      const share = 10 ** power;
      const pulls = {
        foreground: (p) => share * foreground(p, gamma, alpha),
        background: (p) => (1 - share) * background(p, gamma, alpha),
      };
      for (const [name, pull] of Object.entries(pulls)) {
        const points = [];
        for (let z = FIRST; z <= LAST + 1e-9; z += 0.1) {
          const p = sigmoid(z);
          points.push(`${round(across(p))} ${round(down(pull(p)))}`);
        }
        lines[name].setAttribute("d", `M${points.join("L")}`);
      }
      const p = balance(gamma, alpha, share);
      const x = round(across(clamp(p, sigmoid(FIRST), sigmoid(LAST))));
      meeting.setAttribute("d", `M${x} ${HEAD}V${HIGH - FOOT}`);
      const loss = gamma === 0 && alpha === 0.5 ? "That is the cross-entropy." : "";
      verdict.textContent = `With ${percent(share)} foreground, γ = ${gamma.toFixed(1)} and α = ${alpha.toFixed(2)} the pulls are equal at p = ${
        p.toPrecision(2)}: that is the best constant answer. ${loss}`.trim();
      chart.setAttribute("aria-label", `The pull of all foreground pixels falls and that of all background pixels rises with p; they cross at ${
        p.toPrecision(2)}`);
    }

    draw();
    return element("div", { class: "play-app" },
      element("div", { class: "play-panels" }, element("figure", {}, chart, element("figcaption", {},
        "Pull of all foreground pixels together (orange, upwards) and of all background pixels (blue, downwards), both axes stretched at small numbers."))),
      ...rows, verdict);
  }

  mount("focal", build);
})();
