/* The arithmetic of helpers/convnets/output_size for one dimension, with the names and the messages of the Python
   functions; tests/book/test_play_output_size.py compares them. A layer is an object: kind ("conv", "pool" or
   "transposed"), kernel, stride, padding, dilation, output_padding, ceil_mode. */
(function () {
  "use strict";

  const refuse = (message) => { throw new RangeError(message); };

  function atLeast(least, settings) {
    for (const [name, value] of Object.entries(settings)) {
      if (Number.isNaN(value)) refuse(`${name} is empty: give a whole number`);
      if (!Number.isInteger(value)) refuse(`${name} = ${value}: give a whole number`);
      if (value < least) refuse(`${name} = ${value}: it is at least ${least}`);
    }
  }

  /* The cells from the first tap of a kernel to its last, both included. */
  const span = ({ kernel, dilation = 1 }) => dilation * (kernel - 1) + 1;

  /* Zeros on both sides together. */
  function bothSides({ kernel, stride = 1, padding = 0, dilation = 1 }) {
    if (padding === "same" && stride > 1) {
      refuse(`stride = ${stride} is too large for padding 'same', which keeps the size: give it as a number`);
    }
    const reach = span({ kernel, dilation }) - 1;
    const named = { valid: 0, same: reach, full: 2 * reach };
    if (padding in named) return named[padding];
    if (typeof padding === "string") refuse(`padding = '${padding}': it is a number, 'valid', 'same' or 'full'`);
    atLeast(0, { padding });
    return 2 * padding;
  }

  /* Zeros before the first cell: an odd one of "same" goes behind the last, as in torch. */
  const leftSide = (layer) => Math.floor(bothSides(layer) / 2);

  function tooLarge({ size, kernel, dilation }, padded) {
    const reach = span({ kernel, dilation });
    const spans = dilation > 1 ? ` with dilation ${dilation} spans ${reach}` : "";
    refuse(`kernel ${kernel}${spans} but the padded input is ${padded}: shrink the kernel, `
      + `or pad the input of ${size} by ${Math.ceil((reach - size) / 2)} on either side`);
  }

  function convOutputSize({ size, kernel, stride = 1, padding = 0, dilation = 1 }) {
    atLeast(1, { size, kernel, stride, dilation });
    const padded = size + bothSides({ kernel, stride, padding, dilation });
    const room = padded - span({ kernel, dilation });
    if (room < 0) tooLarge({ size, kernel, dilation }, padded);
    return Math.floor(room / stride) + 1;
  }

  function convTransposeOutputSize({ size, kernel, stride = 1, padding = 0, output_padding = 0, dilation = 1 }) {
    atLeast(1, { size, kernel, stride, dilation });
    atLeast(0, { padding, output_padding });
    if (output_padding >= Math.max(stride, dilation)) {
      refuse(`output_padding = ${output_padding} is too large: `
        + `it stays below the stride (${stride}) or the dilation (${dilation})`);
    }
    const uncut = (size - 1) * stride + span({ kernel, dilation }) + output_padding;
    if (uncut <= 2 * padding) {
      refuse(`padding = ${padding} is too large: it cuts ${2 * padding} from an output of ${uncut}`);
    }
    return uncut - 2 * padding;
  }

  /* Whether ceil_mode counts a last window that would start in the padding on the right; it is dropped. */
  const startsTooLate = (count, { size, stride, padding }) => (count - 1) * stride >= size + padding;

  function poolOutputSize({ size, kernel, stride = kernel, padding = 0, dilation = 1, ceil_mode = false }) {
    atLeast(1, { size, kernel, stride, dilation });
    atLeast(0, { padding });
    if (padding > Math.floor(kernel / 2)) {
      refuse(`padding = ${padding} is too large for a pooling kernel of ${kernel}: `
        + `at most half of it, ${Math.floor(kernel / 2)}`);
    }
    const strides = (size + 2 * padding - span({ kernel, dilation })) / stride;
    let count = (ceil_mode ? Math.ceil(strides) : Math.floor(strides)) + 1;
    if (ceil_mode && startsTooLate(count, { size, stride, padding })) count -= 1;
    if (count < 1) tooLarge({ size, kernel, dilation }, size + 2 * padding);
    return count;
  }

  const SIZES = { conv: convOutputSize, pool: poolOutputSize, transposed: convTransposeOutputSize };

  const outputSize = (size, layer) => SIZES[layer.kind]({ size, ...layer });

  /* The cells of a layer's input that one cell of its output is made of, those of the padding included. */
  function taps(layer, cell) {
    const { kind, kernel, stride = 1, padding = 0, dilation = 1 } = layer;
    const steps = Array.from({ length: kernel }, (_, tap) => tap * dilation);
    if (kind !== "transposed") return steps.map((step) => cell * stride - leftSide(layer) + step);
    // Cell i stamps its kernel on outputs i * stride - padding + step.
    return steps.map((step) => (cell + padding - step) / stride).filter(Number.isInteger).reverse();
  }

  /* Where the cells lie behind a stack, in pixels of its input: output i has its centre at offset + i * jump. */
  function grid(layers) {
    return layers.reduce(({ jump, offset }, layer) => {
      const half = (span(layer) - 1) / 2;
      const { stride = 1, padding = 0 } = layer;
      return layer.kind === "transposed"
        ? { jump: jump / stride, offset: offset + (jump / stride) * (padding - half) }
        : { jump: jump * stride, offset: offset + jump * (half - leftSide(layer)) };
    }, { jump: 1, offset: 0 });
  }

  const WORK = 2000; // taps of one layer that `extent` follows

  /* First and last pixel that this output sees, as if every layer's input went on for ever, so with the padding:
     null when it sees none, [NaN, NaN] when that would take too long to find out. */
  function extent(layers, output) {
    const lowest = layers.findIndex((layer) => layer.kind === "transposed");
    let cells = [output];
    for (let i = layers.length - 1; i >= 0; i--) {
      // Below the last transposed layer no gap matters: the ends of the field come from the ends of the field above.
      if (i < lowest || lowest < 0) cells = [cells[0], cells[cells.length - 1]];
      if (cells.length * layers[i].kernel > WORK) return [NaN, NaN];
      cells = [...new Set(cells.flatMap((cell) => taps(layers[i], cell)))].sort((a, b) => a - b);
      if (!cells.length) return null;
    }
    return [cells[0], cells[cells.length - 1]];
  }

  /* The field of a stack: {size, least, jump, offset}. Behind transposed layers outputs differ, in a pattern that
     repeats after as many outputs as their strides multiply to: `size` is the largest field, `least` the smallest,
     and output i has its centre at offset + i * jump on average. NaN when the pattern is too long. */
  function receptiveField(layers) {
    const { jump } = grid(layers);
    const period = layers.reduce((n, { kind, stride = 1 }) => (kind === "transposed" ? n * stride : n), 1);
    if (period > 64) return { size: NaN, least: NaN, jump, offset: NaN };
    const fields = Array.from({ length: period }, (_, output) => extent(layers, output));
    const widths = fields.map((ends) => (ends ? ends[1] - ends[0] + 1 : 0));
    const centres = fields.flatMap((ends, output) => (ends ? [(ends[0] + ends[1]) / 2 - output * jump] : []));
    const offset = centres.reduce((sum, centre) => sum + centre, 0) / centres.length;
    return { size: Math.max(...widths), least: Math.min(...widths), jump, offset };
  }

  /* What one output is really made of: for each level, the input first, the cells that exist and those of padding. */
  function sees(sizes, layers, output) {
    const levels = [{ real: [output], padding: [] }];
    for (let i = layers.length - 1; i >= 0; i--) {
      const cells = [...new Set(levels[0].real.flatMap((cell) => taps(layers[i], cell)))].sort((a, b) => a - b);
      const exists = (cell) => cell >= 0 && cell < sizes[i];
      const beyond = layers[i].kind === "transposed" ? [] : cells.filter((cell) => !exists(cell));
      levels.unshift({ real: cells.filter(exists), padding: beyond });
    }
    return levels;
  }

  window.DLE.output_size = {
    convOutputSize, convTransposeOutputSize, poolOutputSize, outputSize, span, bothSides, leftSide, taps,
    grid, extent, receptiveField, sees, atLeast, refuse,
  };
})();
