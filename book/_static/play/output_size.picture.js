/* The picture of a stack of layers: a row of cells for each level, the input at the bottom, and what one cell sees.

   DLE.output_size.picture(id, pick) returns {node, draw}. draw({sizes, stack, level, cell, seen}) shows the chosen cell:
   `level` is the number of layers below it, `seen` what it sees; pick(level, cell) is called when the reader chooses another. */
(function () {
  "use strict";

  const { bothSides, leftSide, taps, grid, extent } = window.DLE.output_size;
  const { element, shape, clamp, minus, round } = window.DLE.play;

  const SHORT = { conv: "conv", pool: "pool", transposed: "transp." };
  const GUTTER = 66; // for the names of the levels
  const AXIS = 24;
  const LEGIBLE = 9; // pixels of the screen for a pixel of the input, if possible
  const APART = 4; // narrower cells are drawn as one
  const RAYS = 300; // more are drawn as a funnel

  /* Zeros before and behind a level, as the layer above it pads it: [before, behind]. */
  function zerosAround(layer) {
    if (!layer || layer.kind === "transposed") return [0, 0];
    return [leftSide(layer), bothSides(layer) - leftSide(layer)];
  }

  const ends = (cells) => [cells[0], cells[cells.length - 1]];

  function picture(id, pick) {
    const svg = shape("svg", { role: "group", "aria-label": "The cells of each layer, and those that the chosen one sees" });
    const chosen = shape("rect", { class: "play-chosen", tabindex: 0, role: "slider", rx: 2, "aria-valuemin": 0 });
    chosen.setAttribute("aria-label", "Chosen cell: left and right move it, up and down change its layer");
    const drawn = shape("g");
    svg.append(drawn, chosen);
    const node = element("div", { class: "play-picture" }, svg);
    let now = null; // what draw was last called with
    let from = 0; // the pixel at the left end of the picture
    let view = {}; // scales

    const centre = (level, cell) => view.grids[level].offset + cell * view.grids[level].jump;
    const nearest = (level, pixel) => Math.round((pixel - view.grids[level].offset) / view.grids[level].jump);
    const toX = (level, cell) => GUTTER + (centre(level, cell) - from) * view.unit;
    const toY = (level) => 2 + (view.top - level) * view.row;
    const cellWidth = (level) => Math.max(view.grids[level].jump * view.unit, 0.5);

    /* Choose the pixels to show: all while cells stay legible, else a part with the chosen cell's field in it. */
    function look() {
      const { sizes, stack, level, cell } = now;
      const grids = sizes.map((_, i) => grid(stack.slice(0, i)));
      const edges = sizes.flatMap((n, i) => {
        const [before, behind] = zerosAround(i + 1 < sizes.length && stack[i]);
        const { jump, offset } = grids[i];
        return [offset - (before + 0.5) * jump, offset + (n - 0.5 + behind) * jump];
      });
      const [first, last] = [Math.min(...edges), Math.max(...edges)];
      const width = node.clientWidth || 640;
      const field = extent(stack.slice(0, level), cell);
      const middle = grids[level].offset + cell * grids[level].jump;
      const [low, high] = field && !Number.isNaN(field[0]) ? field : [middle, middle];
      const wanted = Math.max((width - GUTTER) / LEGIBLE, (high - low + 1) * 1.1);
      const shown = last - first < 1.2 * wanted ? last - first : wanted; // little is left out: show it too
      const [left, right] = [Math.max(first, low - 0.5), Math.min(last, high + 0.5)];
      if (!(left >= from && right <= from + shown)) from = (left + right - shown) / 2;
      from = clamp(from, first, last - shown);
      const top = sizes.length - 1;
      view = { grids, top, width, shown, unit: (width - GUTTER - 2) / shown, row: top > 6 ? 26 : 44, height: top > 6 ? 14 : 18 };
    }

    /* The cells of a level from `low` to `high` that the picture has room for. */
    function inView(level, low, high) {
      const least = Math.max(low, nearest(level, from) - 1);
      const most = Math.min(high, nearest(level, from + view.shown) + 1);
      return Array.from({ length: Math.max(0, most - least + 1) }, (_, i) => least + i);
    }

    /* The outlines of cells as one path; neighbours too narrow to be told apart are one box. */
    function boxes(level, cells) {
      const width = cellWidth(level);
      const gap = width < APART ? 0 : Math.min(2, width / 6);
      const runs = [];
      for (const cell of cells) {
        const run = runs[runs.length - 1];
        if (gap === 0 && run && run[1] === cell - 1) run[1] = cell;
        else runs.push([cell, cell]);
      }
      return runs.map(([low, high]) => {
        const wide = round((high - low + 1) * width - gap);
        const left = round(toX(level, low) - width / 2 + gap / 2);
        return `M${left},${toY(level)}h${wide}v${view.height}h${-wide}z`;
      }).join("");
    }

    /* From each seen cell to its taps in the level below; a funnel where they would be too many to see. */
    function rays(level, layer, above, below) {
      const [top, bottom] = [toY(level + 1) + view.height, toY(level)];
      if (!above.length || !below.length) return [];
      if (above.length * layer.kernel <= RAYS && cellWidth(level) >= APART) {
        const exists = new Set(below);
        const lines = above.flatMap((cell) => taps(layer, cell).filter((tap) => exists.has(tap)).map((tap) => (
          `M${round(toX(level + 1, cell))},${top}L${round(toX(level, tap))},${bottom}`)));
        return [shape("path", { class: "play-ray", d: lines.join("") })];
      }
      const corners = (at, cells, y) => ends(cells).map((cell, side) => (
        `${round(toX(at, cell) + (side - 0.5) * cellWidth(at))},${y}`));
      const outline = [...corners(level + 1, above, top), ...corners(level, below, bottom).reverse()];
      return [shape("path", { class: "play-funnel", d: `M${outline.join("L")}z` })];
    }

    function row(level) {
      const { seen } = now;
      const n = now.sizes[level];
      const [before, behind] = zerosAround(level < view.top && now.stack[level]);
      const zeros = [...inView(level, -before, -1), ...inView(level, n, n - 1 + behind)];
      const path = (kind, cells) => shape("path", { class: kind, d: boxes(level, cells) });
      const paths = [path("play-zero", zeros), path("play-cell", inView(level, 0, n - 1))];
      if (level >= now.level) return paths;
      return [...paths, path("play-zero play-seen", seen[level].padding), path("play-cell play-seen", seen[level].real)];
    }

    function axis() {
      const y = toY(0) + view.height;
      const step = [1, 2, 5, 10, 20, 50, 100, 200, 500].find((pixels) => pixels * view.unit >= 36) || 1000;
      const nodes = [shape("text", { x: 0, y: y + 18 }, "pixel")];
      for (let pixel = Math.ceil(from / step) * step; pixel <= from + view.shown; pixel += step) {
        const x = round(toX(0, pixel));
        if (x < GUTTER + 6 || x > view.width - 12) continue;
        nodes.push(shape("path", { class: "play-tick", d: `M${x},${y + 2}v4` }));
        nodes.push(shape("text", { x, y: y + 18, "text-anchor": "middle" }, minus(pixel)));
      }
      return nodes;
    }

    function draw(what) {
      now = what;
      look();
      const { sizes, stack, level, cell, seen } = now;
      const height = toY(0) + view.height + AXIS;
      svg.setAttribute("viewBox", `0 0 ${view.width} ${height}`);
      svg.setAttribute("height", height);
      const inside = shape("g", { "clip-path": `url(#${id}-clip)` });
      for (let i = 0; i < level; i++) {
        const { real, padding } = seen[i];
        inside.append(...rays(i, stack[i], seen[i + 1].real, [...real, ...padding].sort((a, b) => a - b)));
      }
      const names = sizes.map((_, i) => shape("text",
        { x: 0, y: toY(i) + view.height / 2 + 4, class: i === level ? "play-now" : "" },
        i ? `${i} ${SHORT[stack[i - 1].kind]}` : "input"));
      sizes.forEach((_, i) => inside.append(...row(i)));
      drawn.replaceChildren(
        shape("clipPath", { id: `${id}-clip` }, shape("rect", { x: GUTTER, y: 0, width: view.width - GUTTER, height })),
        inside, ...names, ...axis());
      const width = Math.max(cellWidth(level), 5);
      for (const [key, value] of Object.entries({
        x: round(toX(level, cell) - width / 2), y: toY(level) - 1, width: round(width), height: view.height + 2,
        "aria-valuemax": sizes[level] - 1, "aria-valuenow": cell, "aria-valuetext": `cell ${cell} of layer ${level}`,
      })) chosen.setAttribute(key, value);
    }

    /* Choose a cell by the pixel that its centre is nearest to. */
    const pickAt = (level, pixel) => pick(level, clamp(nearest(level, pixel), 0, now.sizes[level] - 1));

    function point(event) {
      const box = svg.getBoundingClientRect();
      const level = Math.round(view.top - (event.clientY - box.top - toY(view.top) - view.height / 2) / view.row);
      pickAt(clamp(level, 1, view.top), from + (event.clientX - box.left - GUTTER) / view.unit);
    }

    svg.addEventListener("click", point);
    svg.addEventListener("pointermove", (event) => { // a finger scrolls the page instead
      if (event.pointerType === "mouse" && event.buttons === 1) point(event);
    });
    chosen.addEventListener("keydown", (event) => {
      const { sizes, level, cell } = now;
      const end = sizes[level] - 1;
      const cells = { ArrowLeft: cell - 1, ArrowRight: cell + 1, PageDown: cell - 10, PageUp: cell + 10, Home: 0, End: end };
      const levels = { ArrowUp: level + 1, ArrowDown: level - 1 };
      if (event.key in cells) pick(level, clamp(cells[event.key], 0, end));
      else if (event.key in levels) pickAt(clamp(levels[event.key], 1, view.top), centre(level, cell));
      else return;
      event.preventDefault();
    });
    new ResizeObserver(() => requestAnimationFrame(() => {
      if (now && node.clientWidth && node.clientWidth !== view.width) draw(now);
    })).observe(node);

    return { node, draw };
  }

  window.DLE.output_size.picture = picture;
})();
