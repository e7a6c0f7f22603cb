/* What the figures that the reader plays with share: nodes, numbers as text, and the place where they begin.
   Every page with such a figure loads this file first. */
(function () {
  "use strict";

  const SVG = "http://www.w3.org/2000/svg";

  function filled(node, attributes, children) {
    for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
    node.append(...children);
    return node;
  }

  const element = (name, attributes = {}, ...children) => filled(document.createElement(name), attributes, children);
  const shape = (name, attributes = {}, ...children) => (
    filled(document.createElementNS(SVG, name), attributes, children));

  const clamp = (value, low, high) => Math.min(high, Math.max(low, value));
  const minus = (text) => String(text).replace("-", "\u2212");
  const round = (value) => Math.round(value * 100) / 100;

  /* exp(v / T) over its sum, without overflow. */
  function soften(values, T) {
    const top = Math.max(...values);
    const raised = values.map((v) => Math.exp((v - top) / T));
    const sum = raised.reduce((a, b) => a + b);
    return raised.map((x) => x / sum);
  }

  function percent(share) {
    if (share >= 0.995 && share < 1) return "more than 99 %";
    return share < 0.01 ? "less than 1 %" : `${Math.round(100 * share)} %`;
  }

  /* Build a figure in every <div data-play="name">: build(root, id) returns what to show, `id` being unique on the
     page. What stood inside stays for paper, and for readers without scripts. */
  function mount(name, build) {
    const begin = () => document.querySelectorAll(`[data-play="${name}"]:not([data-built])`).forEach((root) => {
      root.dataset.built = `play-${document.querySelectorAll("[data-built]").length + 1}`;
      const fallback = element("div", { class: "play-fallback", hidden: "" });
      fallback.append(...root.childNodes);
      root.append(fallback, build(root, root.dataset.built));
    });
    if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", begin);
    else begin();
  }

  window.DLE = window.DLE || {};
  window.DLE.play = { element, shape, clamp, minus, round, soften, percent, mount };
})();
