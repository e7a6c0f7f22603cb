/* A walk through the plane of digits: the reader moves two numbers, and a trained decoder draws what lies there.

   <div class="play" data-play="digit-plane">a sentence for where no script runs</div>

   The decoder runs here, on the weights of autoencoders_vae.weights.js. */
(function () {
  "use strict";

  const { element, shape, clamp, minus, round, mount } = window.DLE.play;
  const data = window.DLE.autoencoders_vae;

  function unpacked({ scale, bytes }) {
    const text = atob(bytes);
    return Float32Array.from(text, (letter) => scale * (letter.charCodeAt(0) << 24 >> 24)); // bytes have a sign
  }

  const layers = data.layers.map(({ weight, bias }) => ({ weight: unpacked(weight), bias: unpacked(bias) }));
  const flat = unpacked(data.codes);
  const codes = [...data.labels].map((digit, i) => ({ digit, z: [flat[2 * i], flat[2 * i + 1]] }));

  const PIXELS = Math.sqrt(layers[layers.length - 1].bias.length); // a side

  /* The pixels of the digit at z = [first, second], row by row. */
  function decode(z) {
    let x = z;
    layers.forEach(({ weight, bias }, number) => {
      const y = Array.from(bias);
      const wide = x.length;
      for (let i = 0; i < y.length; i++) {
        for (let j = 0; j < wide; j++) y[i] += weight[i * wide + j] * x[j];
        if (number < layers.length - 1) y[i] = Math.max(0, y[i]);
      }
      x = y;
    });
    return x;
  }

  /* The share of draws from the prior that lie closer to the middle: 1 - exp(-r^2 / 2) in two dimensions. */
  const closer = ([a, b]) => 1 - Math.exp(-(a * a + b * b) / 2);

  /* The class of the training digit whose code is nearest. */
  function nearest(z) {
    const away = ({ z: [a, b] }) => (a - z[0]) ** 2 + (b - z[1]) ** 2;
    return codes.reduce((best, code) => (away(code) < away(best) ? code : best)).digit;
  }

  Object.assign(data, { decode, closer, nearest });

  const SIDE = 320;
  const REACH = 3.5;
  const LIMIT = 3;
  const COLOURS = ["#2370c8", "#dd8c00", "#009a70", "#d06fae", "#b5420f", "#44aaea"];
  const toX = (a) => SIDE / 2 * (1 + a / REACH);
  const toY = (b) => SIDE / 2 * (1 - b / REACH);
  const snap = (value) => Math.round(clamp(value, -LIMIT, LIMIT) * 20) / 20;

  function build(root, id) {
    const z = [0, 0];
    const plane = shape("svg", { viewBox: `0 0 ${SIDE} ${SIDE}`, class: "play-latent", role: "img" },
      shape("rect", { x: 1, y: 1, width: SIDE - 2, height: SIDE - 2, class: "play-frame" }),
      ...[1, 2].map((r) => shape("circle", {
        cx: SIDE / 2, cy: SIDE / 2, r: round(SIDE / 2 * r / REACH), class: "play-frame" })),
      ...codes.map(({ digit, z: [a, b] }) => shape("text", {
        x: round(toX(a)), y: round(toY(b) + 4), fill: COLOURS[digit % COLOURS.length] }, digit)));
    plane.setAttribute("aria-label", "Codes of training digits in the plane, and the point that is drawn");
    const point = shape("circle", { r: 7, class: "play-setting" });
    const grip = shape("circle", { r: 24, class: "play-grip" });
    plane.append(grip, point);
    const canvas = element("canvas", { width: PIXELS, height: PIXELS, role: "img", class: "play-digit" });
    const verdict = element("output", { class: "play-verdict", role: "status", "aria-live": "polite" });

    const sliders = ["First number", "Second number"].map((text, axis) => {
      const input = element("input", {
        type: "range", id: `${id}-${axis}`, min: -LIMIT, max: LIMIT, step: 0.05 });
      const output = element("output", { for: input.id });
      input.addEventListener("input", () => move(axis, Number(input.value)));
      const node = element("div", { class: "play-slider" }, element("label", { for: input.id }, text), input, output);
      return { node, input, output };
    });

    function move(axis, value) {
      z[axis] = snap(value);
      draw();
    }

    function follow(event) {
      const box = plane.getBoundingClientRect();
      z[0] = snap(REACH * (2 * (event.clientX - box.left) / box.width - 1));
      z[1] = snap(REACH * (1 - 2 * (event.clientY - box.top) / box.height));
      draw();
    }
    plane.addEventListener("pointerdown", (event) => {
      const dragged = event.target === grip || event.target === point;
      if (event.pointerType === "touch" && !dragged) return; // a finger on the plane may scroll; a tap is a click
      plane.setPointerCapture(event.pointerId);
      follow(event);
    });
    plane.addEventListener("pointermove", (event) => {
      if (plane.hasPointerCapture(event.pointerId)) follow(event);
    });
    plane.addEventListener("click", follow);

    function draw() {
      const pixels = new ImageData(PIXELS, PIXELS);
      decode(z).forEach((value, i) => {
        pixels.data.set([...Array(3).fill(255 * clamp(value, 0, 1)), 255], 4 * i);
      });
      canvas.getContext("2d", { willReadFrequently: true }).putImageData(pixels, 0, 0);
      const digit = nearest(z);
      canvas.setAttribute("aria-label", `What the decoder draws, near the code of a ${digit}`);
      for (const circle of [grip, point]) {
        circle.setAttribute("cx", round(toX(z[0])));
        circle.setAttribute("cy", round(toY(z[1])));
      }
      sliders.forEach(({ input, output }, axis) => {
        const shown = minus(z[axis].toFixed(2));
        input.value = z[axis];
        input.setAttribute("aria-valuetext", shown);
        output.textContent = shown;
      });
      verdict.textContent = `The nearest training digit is a ${digit}. Of the draws from the prior ${
        Math.round(100 * closer(z))} % lie closer to the middle.`;
    }

    draw();
    return element("div", { class: "play-app" },
      element("div", { class: "play-panels" },
        element("figure", {}, plane, element("figcaption", {}, "Codes of training digits; press or drag to choose a point.")),
        element("figure", {}, canvas, element("figcaption", {}, "What the decoder draws there."))),
      ...sliders.map((slider) => slider.node), verdict);
  }

  mount("digit-plane", build);
})();
