/* What a temperature makes of cosines: the reader chooses a picture and turns tau.

   <div class="play" data-play="clip-temperature">a sentence for where no script runs</div>

   The cosines are those of clip.answers.js; sentence i is picture i's own. */
(function () {
  "use strict";

  const { element, shape, clamp, round, soften, percent, mount } = window.DLE.play;
  const data = window.DLE.clip;

  /* Nats that picture i pays for its own sentence: the row's cross-entropy, -log softmax(cosines / T)[i]. */
  function loss(i, T) {
    const { cosines } = data.pictures[i];
    const top = Math.max(...cosines);
    return (top - cosines[i]) / T + Math.log(cosines.reduce((sum, c) => sum + Math.exp((c - top) / T), 0));
  }

  const average = (T) => data.pictures.reduce((sum, _, i) => sum + loss(i, T), 0) / data.pictures.length;

  Object.assign(data, { loss, average });

  const [COLDEST, HOTTEST] = [-2, 0]; // powers of ten
  const ROW = 21;
  const [WIDE, NUMBER, START] = [340, 152, 162]; // where cosines end and bars begin
  const LONGEST = WIDE - START - 34;
  const [CHART, LEFT, TOP, RIGHT, BOTTOM, MOST] = [212, 30, 16, 8, 36, 5]; // MOST nats at the upper edge

  const across = (power) => round(LEFT + (WIDE - LEFT - RIGHT) * (power - COLDEST) / (HOTTEST - COLDEST));
  const up = (nats) => round(CHART - BOTTOM - (CHART - BOTTOM - TOP) * Math.min(nats, MOST + 1) / MOST);
  const numeral = (T) => String(Number(T.toPrecision(2)));

  function path(of) {
    const points = Array.from({ length: 101 }, (_, k) => COLDEST + (HOTTEST - COLDEST) * k / 100);
    return `M${points.map((power) => `${across(power)} ${up(of(10 ** power))}`).join("L")}`;
  }

  function build(root, id) {
    let chosen = 3; // two sentences are close
    let power = Math.log10(data.temperature);

    const rows = data.sentences.map((sentence, k) => ({
      name: shape("text", { x: 0, y: round(ROW * (k + 0.7)) }, sentence),
      cosine: shape("text", { x: NUMBER, y: round(ROW * (k + 0.7)), class: "play-number" }),
      bar: shape("rect", { x: START, y: round(ROW * k + 3), height: ROW - 6 }),
      share: shape("text", { y: round(ROW * (k + 0.7)) }),
    }));
    const shares = shape("svg", { viewBox: `0 0 ${WIDE} ${ROW * rows.length}`, class: "play-sentences", role: "img" },
      ...rows.flatMap(({ name, cosine, bar, share }) => [name, cosine, bar, share]));

    const learned = across(Math.log10(data.temperature));
    const floor = CHART - BOTTOM;
    const own = shape("path", { class: "play-own" });
    const dots = [shape("circle", { r: 5, class: "play-mean" }), shape("circle", { r: 5, class: "play-own" })];
    const chart = shape("svg", { viewBox: `0 0 ${WIDE} ${CHART}`, class: "play-losses", role: "img" },
      shape("clipPath", { id: `${id}-inside` },
        shape("rect", { x: LEFT, y: TOP, width: WIDE - LEFT - RIGHT, height: floor - TOP })),
      shape("path", { d: `M${LEFT} ${TOP}V${floor}H${WIDE - RIGHT}`, class: "play-frame" }),
      ...[0, 1, 2, 3, 4, 5].map((nats) => shape("text", { x: LEFT - 6, y: up(nats) + 4, class: "play-number" }, nats)),
      ...[[-2, "0.01"], [-1, "0.1"], [0, "1"]].map(([at, text]) => (
        shape("text", { x: across(at), y: floor + 16, class: at === HOTTEST ? "play-number" : "play-middle" }, text))),
      shape("text", { x: (LEFT + WIDE - RIGHT) / 2, y: CHART - 4, class: "play-middle" }, "temperature \u03c4"),
      shape("path", { d: `M${learned} ${TOP}V${floor}`, class: "play-learned" }),
      shape("text", { x: learned, y: TOP - 4, class: "play-middle" }, "the model\u2019s"),
      shape("g", { "clip-path": `url(#${id}-inside)` }, shape("path", { d: path(average), class: "play-mean" }), own),
      ...dots);
    const verdict = element("output", { class: "play-verdict", role: "status", "aria-live": "polite" });

    const input = element("input", { type: "range", id: `${id}-tau`, min: COLDEST, max: HOTTEST, step: 0.01 });
    const shown = element("output", { for: input.id });
    input.addEventListener("input", () => {
      power = clamp(Number(input.value), COLDEST, HOTTEST);
      draw();
    });
    const choice = element("fieldset", { class: "play-methods play-pictures" }, element("legend", {}, "Picture"),
      ...data.pictures.map(({ png }, i) => {
        const radio = element("input", { type: "radio", name: `${id}-picture`, value: i, "aria-label": data.sentences[i] });
        radio.checked = i === chosen;
        radio.addEventListener("change", () => {
          chosen = i;
          draw();
        });
        return element("label", {}, radio, element("img", { src: `data:image/png;base64,${png}`, alt: data.sentences[i] }));
      }));

    function draw() {
      const { cosines } = data.pictures[chosen];
      const T = 10 ** power;
      const given = soften(cosines, T);
      rows.forEach(({ name, cosine, bar, share }, k) => {
        const long = round(LONGEST * given[k]);
        name.setAttribute("class", k === chosen ? "play-right" : "");
        cosine.textContent = cosines[k].toFixed(2).replace("-", "\u2212");
        bar.setAttribute("width", long);
        bar.setAttribute("class", k === chosen ? "play-label" : "play-other");
        share.setAttribute("x", START + long + 5);
        share.textContent = given[k] < 0.005 ? "" : `${Math.round(100 * given[k])} %`;
      });
      own.setAttribute("d", path((t) => loss(chosen, t)));
      [average(T), loss(chosen, T)].forEach((nats, k) => {
        dots[k].setAttribute("cx", across(power));
        dots[k].setAttribute("cy", up(nats));
        dots[k].setAttribute("visibility", nats > MOST ? "hidden" : "visible");
      });
      const text = numeral(T);
      const best = given.indexOf(Math.max(...given));
      const wrong = best === chosen ? "" : ` The model takes it for ${data.sentences[best]}.`;
      input.value = power;
      input.setAttribute("aria-valuetext", text);
      shown.textContent = text;
      verdict.textContent = `At \u03c4 = ${text}, \u201c${data.sentences[chosen]}\u201d has ${percent(given[chosen])}. Loss: ${
        loss(chosen, T).toFixed(2)} nats for this picture, ${average(T).toFixed(2)} for the mean of the ten.${wrong}`;
      shares.setAttribute("aria-label", `Shares of the sentences in percent: ${
        given.map((p, k) => `${data.sentences[k]} ${Math.round(100 * p)}`).join(", ")}`);
      chart.setAttribute("aria-label", `Loss against temperature, for this picture and for the mean of ten. At ${text}: ${
        loss(chosen, T).toFixed(2)} and ${average(T).toFixed(2)} nats`);
    }

    draw();
    return element("div", { class: "play-app" }, choice,
      element("div", { class: "play-panels" },
        element("figure", {}, shares, element("figcaption", {},
          "Cosines of the picture with ten sentences, and what the softmax makes of them; orange is its own.")),
        element("figure", {}, chart, element("figcaption", {},
          "Loss in nats: orange for this picture, blue for the mean of the ten."))),
      element("div", { class: "play-slider" }, element("label", { for: input.id }, "Temperature \u03c4"), input, shown), verdict);
  }

  mount("clip-temperature", build);
})();
