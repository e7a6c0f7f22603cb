/* A teacher's answer at any temperature: the reader chooses a digit and turns T.

   <div class="play" data-play="temperature">a sentence for where no script runs</div>

   The logits are those of distillation.answers.js. */
(function () {
  "use strict";

  const { element, shape, clamp, round, soften, percent, mount } = window.DLE.play;
  const data = window.DLE.distillation;

  /* In nats; what is 0 adds nothing. */
  const entropy = (shares) => -shares.reduce((sum, p) => sum + (p > 0 ? p * Math.log(p) : 0), 0);

  /* Over a bar, as the sentence has it: nothing where that says "less than 1 %". */
  function label(share) {
    if (share < 0.01) return "";
    return share >= 0.995 && share < 1 ? ">99" : `${Math.round(100 * share)}`;
  }

  Object.assign(data, { soften, entropy, label });

  const [WIDE, HIGH, FOOT, HEAD] = [320, 230, 24, 22];
  const [COLDEST, HOTTEST] = [-0.5, 2]; // powers of ten
  const BAR = WIDE / 10;

  function build(root, id) {
    let chosen = 0;
    let power = 0;

    const frame = shape("path", { d: `M0 ${HIGH - FOOT}H${WIDE}`, class: "play-frame" });
    const bars = data.digits[0].logits.map((_, k) => ({
      bar: shape("rect", { x: round(BAR * k + 4), width: round(BAR - 8) }),
      share: shape("text", { x: round(BAR * (k + 0.5)) }),
      name: shape("text", { x: round(BAR * (k + 0.5)), y: HIGH - 6 }, k),
    }));
    const chart = shape("svg", { viewBox: `0 0 ${WIDE} ${HIGH}`, class: "play-shares", role: "img" },
      frame, ...bars.flatMap(({ bar, share, name }) => [bar, share, name]));
    const canvas = element("canvas", { width: 8, height: 8, role: "img", class: "play-digit" });
    const verdict = element("output", { class: "play-verdict", role: "status", "aria-live": "polite" });

    const input = element("input", { type: "range", id: `${id}-T`, min: COLDEST, max: HOTTEST, step: 0.05 });
    const shown = element("output", { for: input.id });
    input.addEventListener("input", () => {
      power = clamp(Number(input.value), COLDEST, HOTTEST);
      draw();
    });
    const choice = element("fieldset", { class: "play-methods" }, element("legend", {}, "Digit"),
      ...data.digits.map(({ label }, i) => {
        const radio = element("input", { type: "radio", name: `${id}-digit`, value: i });
        radio.checked = i === chosen;
        radio.addEventListener("change", () => {
          chosen = i;
          draw();
        });
        return element("label", {}, radio, `a ${label}`);
      }));

    function draw() {
      const { label, ink, logits } = data.digits[chosen];
      const T = 10 ** power;
      const shares = soften(logits, T);
      const room = HIGH - FOOT - HEAD;
      bars.forEach(({ bar, share }, k) => {
        const tall = round(room * shares[k]);
        bar.setAttribute("height", tall);
        bar.setAttribute("y", HIGH - FOOT - tall);
        bar.setAttribute("class", k === label ? "play-label" : "play-other");
        share.setAttribute("y", HIGH - FOOT - tall - 5);
        share.textContent = data.label(shares[k]);
      });
      const pixels = new ImageData(8, 8);
      ink.forEach((level, i) => pixels.data.set([...Array(3).fill(255 * level / 16), 255], 4 * i));
      canvas.getContext("2d", { willReadFrequently: true }).putImageData(pixels, 0, 0);
      canvas.setAttribute("aria-label", `A handwritten ${label}`);
      const text = T < 10 ? T.toFixed(1) : T.toFixed(0);
      const order = shares.map((_, k) => k).sort((a, b) => shares[b] - shares[a]);
      const next = order.find((k) => k !== label);
      input.value = power;
      input.setAttribute("aria-valuetext", text);
      shown.textContent = text;
      verdict.textContent = `At T = ${text} the ${label} has ${percent(shares[label])}, and the ${next} has ${
        percent(shares[next])}. Entropy: ${entropy(shares).toFixed(2)} of at most ${Math.log(shares.length).toFixed(2)} nats.`;
      chart.setAttribute("aria-label", `Shares of the digits 0 to 9 in percent: ${
        shares.map((p) => data.label(p) || "<1").join(", ")}`);
    }

    draw();
    return element("div", { class: "play-app" }, choice,
      element("div", { class: "play-panels" },
        element("figure", {}, canvas, element("figcaption", {}, "A test digit, 8x8 pixels.")),
        element("figure", {}, chart, element("figcaption", {}, "The teacher's shares in percent; orange is the label."))),
      element("div", { class: "play-slider" }, element("label", { for: input.id }, "Temperature"), input, shown), verdict);
  }

  mount("temperature", build);
})();
