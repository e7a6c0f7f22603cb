/* The stamps of a transposed convolution: the reader sets kernel and stride, and sees how many land on each pixel.

   <div class="play" data-play="stamps">a sentence for where no script runs</div> */
(function () {
  "use strict";

  const { element, shape, clamp, round, mount } = window.DLE.play;

  const INPUTS = 6;

  /* Stamps on each pixel of a line: input i covers the pixels from stride * i on. */
  function coverage(inputs, kernel, stride) {
    const counts = Array((inputs - 1) * stride + kernel).fill(0);
    for (let i = 0; i < inputs; i++) for (let j = 0; j < kernel; j++) counts[i * stride + j] += 1;
    return counts;
  }

  /* The different counts of pixels that all stamps could reach, away from both ends. */
  function inside(inputs, kernel, stride) {
    const counts = coverage(inputs, kernel, stride);
    const middle = counts.slice(kernel - 1, counts.length - kernel + 1);
    return [...new Set(middle)].sort((a, b) => a - b);
  }

  window.DLE.segmentation = { coverage, inside };

  const [WIDE, ROW, HIGH] = [320, 12, 150];
  const SIDE = 200;

  function build(root, id) {
    const setting = { kernel: 3, stride: 2 };

    const line = shape("svg", { viewBox: `0 0 ${WIDE} ${HIGH}`, class: "play-stamps", role: "img" });
    const plane = shape("svg", { viewBox: `0 0 ${SIDE} ${SIDE}`, class: "play-stamps play-checks", role: "img" });
    const verdict = element("output", { class: "play-verdict", role: "status", "aria-live": "polite" });
    const sliders = [["kernel", "Kernel", 1, 7], ["stride", "Stride", 1, 4]].map(([key, name, min, max]) => {
      const input = element("input", { type: "range", id: `${id}-${key}`, min, max, step: 1 });
      input.value = setting[key];
      const shown = element("output", { for: input.id }, setting[key]);
      input.addEventListener("input", () => {
        setting[key] = clamp(Math.round(Number(input.value)), min, max);
        shown.textContent = setting[key];
        draw();
      });
      return element("div", { class: "play-slider" }, element("label", { for: input.id }, name), input, shown);
    });

    function draw() {
      const { kernel, stride } = setting;
      const counts = coverage(INPUTS, kernel, stride);
      const most = Math.max(...counts);
      const cell = WIDE / counts.length;
      const room = HIGH - ROW * INPUTS - 22;
      const stamps = Array.from({ length: INPUTS }, (_, i) => shape("rect", {
        x: round(cell * i * stride + 1), y: ROW * i + 1, width: round(cell * kernel - 2), height: ROW - 3,
        class: i % 2 ? "play-odd" : "play-even",
      }));
      const bars = counts.flatMap((count, j) => {
        const tall = round(room * count / most);
        return [
          shape("rect", { x: round(cell * j + 1), y: HIGH - tall, width: round(cell - 2), height: tall, class: "play-count" }),
          shape("text", { x: round(cell * (j + 0.5)), y: HIGH - tall - 4 }, count),
        ];
      });
      line.replaceChildren(...stamps, ...bars);
      line.setAttribute("aria-label", `Stamps on each pixel of a line: ${counts.join(", ")}`);

      const step = SIDE / counts.length;
      plane.replaceChildren(...counts.flatMap((down, i) => counts.map((across, j) => shape("rect", {
        x: round(step * j), y: round(step * i), width: round(step + 0.3), height: round(step + 0.3),
        class: "play-count", "fill-opacity": round(down * across / most ** 2),
      }))));
      const found = inside(INPUTS, kernel, stride);
      const both = [...new Set(found.flatMap((a) => found.map((b) => a * b)))].sort((a, b) => a - b);
      plane.setAttribute("aria-label", `Stamps in the plane, darker where there are more: inside ${both.join(", ")}`);
      verdict.textContent = found.length === 1
        ? `Kernel ${kernel} is divided by stride ${stride}: inside, each pixel gets ${found[0]} on a line and ${both[0]} in the plane.`
        : `Kernel ${kernel} is not divided by stride ${stride}: inside, a pixel gets ${found.join(" or ")} on a line, and ${
          both.join(", ")} in the plane.`;
    }

    draw();
    return element("div", { class: "play-app" }, ...sliders,
      element("div", { class: "play-panels" },
        element("figure", {}, line, element("figcaption", {}, "Six inputs stamp along a line; below, stamps on each pixel.")),
        element("figure", {}, plane, element("figcaption", {}, "The same in the plane: darker where more stamps land."))),
      verdict);
  }

  mount("stamps", build);
})();
