// A picture as srkd upscales it: RGB, alpha or none, and whether it is gray (srkd/upscaling/enlarge.py).

const STRIP = 256;

// Decodes a file: sRGB, 8 bits, upright.
export async function decode(file) {
  let bitmap;
  try {
    await refuseAnimated(file);
    bitmap = await createImageBitmap(file, { premultiplyAlpha: "none" });
  } catch (error) {
    throw error instanceof Refused ? error : new Refused("is not a picture that this browser can read");
  }
  const { width, height } = bitmap;
  const rgb = new Uint8ClampedArray(width * height * 3);
  let alpha = new Uint8Array(width * height);
  let opaque = true;
  read(bitmap, "unorm8", (data, first, count) => {
    for (let i = 0; i < count; i++) {
      for (let c = 0; c < 3; c++) rgb[(first + i) * 3 + c] = data[i * 4 + c];
      alpha[first + i] = data[i * 4 + 3];
      opaque &&= data[i * 4 + 3] === 255;
    }
  });
  if (opaque) {
    alpha = null;
  } else {
    // A canvas keeps colours multiplied by alpha, which costs 8 bits their precision; 16 have enough.
    read(bitmap, "float16", (data, first, count) => {
      const white = data instanceof Uint8ClampedArray ? 1 : 255;
      for (let i = 0; i < count; i++) {
        for (let c = 0; c < 3; c++) rgb[(first + i) * 3 + c] = data[i * 4 + c] * white;
      }
    });
  }
  bitmap.close();
  return { width, height, rgb, alpha };
}

export class Refused extends Error {}

async function refuseAnimated(file) {
  if (!("ImageDecoder" in self) || !(await ImageDecoder.isTypeSupported(file.type))) return;
  const decoder = new ImageDecoder({ data: file.stream(), type: file.type });
  await decoder.tracks.ready;
  await decoder.completed;
  const frames = decoder.tracks.selectedTrack?.frameCount ?? 1;
  decoder.close();
  if (frames > 1) throw new Refused(`holds ${frames} frames; extract the one to upscale`);
}

// Reads a bitmap a strip at a time, since canvases have a largest size; in 8 bits where there are no floats.
function read(bitmap, colorType, take) {
  const { width, height } = bitmap;
  const canvas = new OffscreenCanvas(width, Math.min(height, STRIP));
  const context = canvas.getContext("2d", { colorType, willReadFrequently: true });
  if (context === null) throw new Refused(`is too large for this browser (${width}x${height})`);
  const deep = colorType === "float16" && context.getContextAttributes?.().colorType === "float16";
  for (let top = 0; top < height; top += STRIP) {
    const rows = Math.min(STRIP, height - top);
    context.clearRect(0, 0, width, STRIP);
    context.drawImage(bitmap, 0, -top);
    const settings = deep ? { pixelFormat: "rgba-float16" } : {};
    take(context.getImageData(0, 0, width, rows, settings).data, top * width, rows * width);
  }
}

// Whether RGB is gray but for the noise of lossy formats: srkd/images/tensors.py, with its limits.
export function isGray({ width, height, rgb }) {
  const [pixel, block, whole] = [10, 4, 0.5];
  const totals = [0, 0, 0];
  for (let top = 0; top < height; top += 8) {
    const bottom = Math.min(top + 8, height);
    for (let left = 0; left < width; left += 8) {
      const right = Math.min(left + 8, width);
      const sums = [0, 0, 0];
      for (let y = top; y < bottom; y++) {
        for (let i = (y * width + left) * 3; i < (y * width + right) * 3; i += 3) {
          if (spread(rgb[i], rgb[i + 1], rgb[i + 2]) > pixel) return false;
          for (let c = 0; c < 3; c++) sums[c] += rgb[i + c];
        }
      }
      if (spread(...sums) / ((bottom - top) * (right - left)) > block) return false;
      for (let c = 0; c < 3; c++) totals[c] += sums[c];
    }
  }
  return spread(...totals) / (width * height) <= whole;
}

function spread(a, b, c) {
  return Math.max(a, b, c) - Math.min(a, b, c);
}

// RGB replaced by its luma, in float32 as NumPy computes it.
export function toGray(rgb) {
  const round = Math.fround;
  const [red, green, blue] = [0.299, 0.587, 0.114].map(round);
  for (let i = 0; i < rgb.length; i += 3) {
    const luma = round(round(red * rgb[i]) + round(green * rgb[i + 1]));
    rgb[i] = round(luma + round(blue * rgb[i + 2]));
    rgb[i + 1] = rgb[i + 2] = rgb[i];
  }
}

// The least and greatest alpha of the 3x3 pixels around each.
export function alphaLimits({ width, height, alpha }) {
  return [Math.min, Math.max].map((choose) => {
    const rows = new Uint8Array(alpha.length);
    const result = new Uint8Array(alpha.length);
    for (let y = 0; y < height; y++) {
      const above = Math.max(y - 1, 0) * width;
      const below = Math.min(y + 1, height - 1) * width;
      for (let x = 0; x < width; x++) rows[y * width + x] = choose(alpha[above + x], alpha[y * width + x], alpha[below + x]);
    }
    for (let y = 0; y < height; y++) {
      const row = y * width;
      for (let x = 0; x < width; x++) {
        result[row + x] = choose(rows[row + Math.max(x - 1, 0)], rows[row + x], rows[row + Math.min(x + 1, width - 1)]);
      }
    }
    return result;
  });
}

// Gives fully transparent pixels the colour of the nearest that is not: the exact feature transform of Maurer et
// al. 2003, ties as in srkd/upscaling/nearest.py.
export function bleed({ width, height, rgb, alpha }) {
  const nearest = nearestRows(width, height, alpha);
  const sites = [];
  for (let x = 0; x < width; x++) if (nearest[x] >= 0) sites.push(x);
  if (sites.length === 0) return;
  const source = rgb.slice();
  const stack = new Int32Array(sites.length);
  for (let y = 0; y < height; y++) {
    const cost = (x) => (nearest[y * width + x] - y) ** 2;
    let top = 0;
    for (const site of sites) {
      while (top >= 2 && hides(stack[top - 2], stack[top - 1], site, cost)) top--;
      stack[top++] = site;
    }
    let place = 0;
    for (let x = 0; x < width; x++) {
      const distance = (k) => (stack[k] - x) ** 2 + cost(stack[k]);
      while (place + 1 < top && distance(place + 1) < distance(place)) place++;
      if (alpha[y * width + x] !== 0) continue;
      const from = (nearest[y * width + stack[place]] * width + stack[place]) * 3;
      for (let c = 0; c < 3; c++) rgb[(y * width + x) * 3 + c] = source[from + c];
    }
  }
}

// Whether the middle one of three sites is nearest nowhere on the row.
function hides(before, last, next, cost) {
  const [a, b] = [last - before, next - last];
  const c = a + b;
  return c * cost(last) - b * cost(before) - a * cost(next) - a * b * c > 0;
}

// For each pixel the row of the nearest visible one in its column, the upper of two; -1 in columns without any.
function nearestRows(width, height, alpha) {
  const result = new Int32Array(width * height).fill(-1);
  for (let x = 0; x < width; x++) {
    for (let y = 0, above = -1; y < height; y++) {
      if (alpha[y * width + x] !== 0) above = y;
      result[y * width + x] = above;
    }
    for (let y = height - 1, below = -1; y >= 0; y--) {
      if (alpha[y * width + x] !== 0) below = y;
      const above = result[y * width + x];
      if (below >= 0 && (above < 0 || below - y < y - above)) result[y * width + x] = below;
    }
  }
  return result;
}
