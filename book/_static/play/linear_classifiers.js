/* Two losses of three scores: the reader moves the scores, the page shows both losses and how each pulls.

   <div class="play" data-play="two-losses">a sentence for where no script runs</div>

   The first class is the right one. */
(function () {
  "use strict";

  const { element, shape, clamp, minus, round, soften, mount } = window.DLE.play;

  const NAMES = ["falling", "rising", "bar"]; // the classes of the page; the label is the first
  const START = [0.6, -0.6, 0.3];
  const MARGIN = 1;
  const FARTHEST = 4; // of a score from zero

  const hinge = (scores) => scores.slice(1).reduce((sum, s) => sum + Math.max(0, s - scores[0] + MARGIN), 0);

  function hingePulls(scores) {
    const near = scores.slice(1).map((s) => (s - scores[0] + MARGIN > 1e-9 ? 1 : 0));
    return [near.reduce((a, b) => a + b, 0), ...near.map((n) => -n || 0)];
  }

  const softmaxLoss = (scores) => -Math.log(soften(scores, 1)[0]);
  const softmaxPulls = (scores) => soften(scores, 1).map((p, k) => (k === 0 ? 1 - p : -p));

  window.DLE.linear_classifiers = { hinge, hingePulls, softmaxLoss, softmaxPulls };

  const [WIDE, ROW, MIDDLE, REACH] = [320, 34, 180, 40]; // REACH: pixels for a pull of 1
  /* Two decimals; what is smaller and not nothing has one digit. */
  const two = (x) => minus(x !== 0 && Math.abs(x) < 0.005 ? Number(x.toPrecision(1)) : x.toFixed(2));

  /* One panel: for each class the arrow that pulls its score, to the right when up. */
  function panel(title) {
    const rows = NAMES.map((name, k) => {
      const y = ROW * (k + 0.6);
      return {
        line: shape("path", { class: k === 0 ? "play-pull play-right" : "play-pull" }),
        value: shape("text", { y: y + 4, x: WIDE - 4, class: "play-value" }),
        y,
        name: shape("text", { x: 4, y: y + 4 }, k === 0 ? `${name} (right)` : name),
      };
    });
    const axis = shape("path", { d: `M${MIDDLE} 6V${3 * ROW}`, class: "play-frame" });
    const svg = shape("svg", { viewBox: `0 0 ${WIDE} ${3 * ROW + 6}`, class: "play-pulls", role: "img" },
      axis, ...rows.flatMap(({ line, value, name }) => [line, value, name]));
    const caption = element("figcaption", {});
    function draw(loss, pulls) {
      rows.forEach(({ line, value, y }, k) => {
        const end = MIDDLE + REACH * pulls[k];
        const tip = Math.sign(pulls[k]) * Math.min(7, REACH * Math.abs(pulls[k]));
        line.setAttribute("d", Math.abs(pulls[k]) < 0.005 ? ""
          : `M${MIDDLE} ${y}H${round(end)}m${round(-tip)} -4l${round(tip)} 4l${round(-tip)} 4`);
        value.textContent = two(pulls[k]);
      });
      caption.textContent = `${title}: loss ${two(loss)}. An arrow to the right pulls a score up.`;
      svg.setAttribute("aria-label", `${title}: pulls ${NAMES.map((name, k) => `${name} ${two(pulls[k])}`).join(", ")}`);
    }
    return { draw, node: element("figure", {}, svg, caption) };
  }

  function build(root, id) {
    const scores = [...START];
    const panels = [panel("Hinge"), panel("Softmax")];
    const verdict = element("output", { class: "play-verdict", role: "status", "aria-live": "polite" });
    const sliders = NAMES.map((name, k) => {
      const input = element("input", { type: "range", id: `${id}-${k}`, min: -FARTHEST, max: FARTHEST, step: 0.1 });
      const shown = element("output", { for: input.id });
      input.addEventListener("input", () => {
        scores[k] = clamp(Math.round(10 * Number(input.value)) / 10, -FARTHEST, FARTHEST);
        draw();
      });
      const label = element("label", { for: input.id }, k === 0 ? `Score of ${name} (right)` : `Score of ${name}`);
      return { input, shown, node: element("div", { class: "play-slider" }, label, input, shown) };
    });

    function draw() {
      sliders.forEach(({ input, shown }, k) => {
        input.value = scores[k];
        shown.textContent = minus(scores[k].toFixed(1));
      });
      panels[0].draw(hinge(scores), hingePulls(scores));
      panels[1].draw(softmaxLoss(scores), softmaxPulls(scores));
      const short = hingePulls(scores)[0];
      const p = soften(scores, 1)[0];
      const share = p > 0.995 ? "more than 99 %" : p < 0.005 ? "less than 1 %" : `${Math.round(100 * p)} %`;
      verdict.textContent = (short === 0
        ? "The margin is kept: the hinge is 0 and pulls at nothing."
        : `${short === 1 ? "One wrong class is" : "Two wrong classes are"} within the margin: the hinge is ${two(hinge(scores))}.`)
        + ` The softmax gives the right class ${share}; its loss is ${two(softmaxLoss(scores))} and still pulls.`;
    }

    draw();
    return element("div", { class: "play-app" }, ...sliders.map(({ node }) => node),
      element("div", { class: "play-panels" }, ...panels.map(({ node }) => node)), verdict);
  }

  mount("two-losses", build);
})();
