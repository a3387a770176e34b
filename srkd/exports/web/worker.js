// One picture after another: decoded, enlarged tile by tile, written as PNG. To cancel, the page ends the worker.

import { open } from "./network.js";
import { alphaLimits, bleed, decode, isGray, Refused, toGray } from "./picture.js";
import { PngWriter } from "./png.js";
import { Band, cut, windowSide } from "./tiles.js";

const PREVIEW_PIXELS = 8e6;

self.onmessage = async ({ data: { file, model } }) => {
  try {
    await upscale(file, model);
  } catch (error) {
    const message = error instanceof RangeError ? "does not fit into this browser's memory" : error.message;
    self.postMessage({ kind: "error", refused: error instanceof Refused, message: message ?? String(error) });
  }
};

async function upscale(file, model) {
  const picture = await decode(file);
  if (picture.alpha) {
    bleed(picture);
    picture.limits = alphaLimits(picture);
  }
  picture.gray = isGray(picture);
  if (picture.gray) toGray(picture.rgb);
  const { width, height, gray, alpha } = picture;
  const sides = [height, width].map((length) => windowSide(length, model.tile, model.radius));
  const [rows, columns] = [height, width].map((length, axis) => cut(length, sides[axis], model.radius));
  const window = { height: sides[0], width: sides[1] };
  const { run, backend } = await open(model, window.height, window.width);

  const size = { width: width * model.scale, height: height * model.scale };
  const channels = (gray ? 1 : 3) + (alpha ? 1 : 0);
  const png = new PngWriter(size.width, size.height, channels);
  const band = new Band(size.width, window.height * model.scale, channels);
  const step = Math.ceil(Math.sqrt((size.width * size.height) / PREVIEW_PIXELS));
  self.postMessage({ kind: "start", width, height, ...size, source: { width, height }, step, backend });

  for (const [k, row] of rows.entries()) {
    for (const [n, column] of columns.entries()) {
      await place(band, picture, model, run, window, row, column);
      self.postMessage({ kind: "progress", done: k * columns.length + n + 1, total: rows.length * columns.length });
    }
    const next = rows[k + 1];
    const until = next ? (next.start - fadeOf(next, model)) * model.scale : size.height;
    const top = band.top;
    const done = band.take(until);
    self.postMessage({ kind: "rows", ...preview(done, top, size.width, channels, step) });
    await png.write(done);
  }
  self.postMessage({ kind: "done", blob: await png.finish(), gray, alpha: alpha !== null });
}

// Pixels by which a tile is blended into those before it; none where nothing beyond the radius counts.
function fadeOf(span, model) {
  return model.exact ? 0 : Math.min(model.radius >> 1, span.start - span.first);
}

// Computes a tile and puts it into the band: colours, then alpha between its neighbours.
async function place(band, picture, model, run, window, row, column) {
  const { scale } = model;
  const fade = { rows: fadeOf(row, model) * scale, columns: fadeOf(column, model) * scale };
  const top = row.start * scale - fade.rows;
  const left = column.start * scale - fade.columns;
  const size = [row.stop * scale - top, column.stop * scale - left];
  const stride = window.width * scale;
  const plane = window.height * scale * stride;
  const first = (top - row.first * scale) * stride + left - column.first * scale;

  const colours = await run(toPlanes(picture, window, row, column, (i, c) => picture.rgb[i * 3 + c]));
  const mean = (values, i) => (values[i] + values[i + plane] + values[i + 2 * plane]) / 3;
  const count = picture.gray ? 1 : 3;
  const colour = picture.gray
    ? (y, x) => mean(colours, first + y * stride + x) * 255
    : (y, x, c) => colours[first + y * stride + x + c * plane] * 255;
  band.put(top, left, ...size, fade, 0, count, colour);
  if (!picture.alpha) return;

  const [low, high] = picture.limits;
  const at = (y, x) => Math.floor((top + y) / scale) * picture.width + Math.floor((left + x) / scale);
  // Where all neighbours are equal, so is the result.
  const flat = isFlat(picture, row, column);
  const values = flat ? null : await run(toPlanes(picture, window, row, column, (i) => picture.alpha[i]));
  const opacity = (y, x) => {
    const i = at(y, x);
    if (flat) return low[i];
    return Math.min(Math.max(mean(values, first + y * stride + x) * 255, low[i]), high[i]);
  };
  band.put(top, left, ...size, fade, count, 1, opacity);
}

function isFlat({ width, limits: [low, high] }, row, column) {
  for (let y = row.first; y < row.last; y++) {
    for (let i = y * width + column.first; i < y * width + column.last; i++) if (low[i] !== high[i]) return false;
  }
  return true;
}

// A window's pixels as planes in [0, 1].
function toPlanes({ width }, window, row, column, value) {
  const planes = new Float32Array(3 * window.height * window.width);
  let place = 0;
  for (let c = 0; c < 3; c++) {
    for (let y = row.first; y < row.last; y++) {
      for (let x = column.first; x < column.last; x++) planes[place++] = value(y * width + x, c) / 255;
    }
  }
  return planes;
}

// Every `step`-th pixel of rows as RGBA. The network has interpolated, so that little is lost by leaving some out.
function preview(pixels, top, width, channels, step) {
  const rows = pixels.length / channels / width;
  const [first, stop] = [top, top + rows].map((row) => Math.ceil(row / step));
  const columns = Math.ceil(width / step);
  const rgba = new Uint8ClampedArray(columns * (stop - first) * 4);
  const gray = channels < 3;
  let place = 0;
  for (let y = first; y < stop; y++) {
    for (let x = 0; x < columns; x++, place += 4) {
      const i = ((y * step - top) * width + x * step) * channels;
      for (let c = 0; c < 3; c++) rgba[place + c] = pixels[gray ? i : i + c];
      rgba[place + 3] = channels % 2 ? 255 : pixels[i + channels - 1];
    }
  }
  return { top: first, columns, rgba };
}
