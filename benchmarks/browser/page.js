// Runs a network on pixels; `rivals.py` calls it. Pixels are base64 of RGB bytes, row by row.

import { open } from "./ours/network.js";

const NPM = { "esrgan-slim": "ESRGANSlim4x", "esrgan-medium": "ESRGANMedium4x", "esrgan-thick": "ESRGANThick4x" };
const opened = new Map();

const toBytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));

function toText(bytes) {
  const parts = [];
  for (let k = 0; k < bytes.length; k += 32768) parts.push(String.fromCharCode(...bytes.subarray(k, k + 32768)));
  return btoa(parts.join(""));
}

async function openTheirs(name) {
  const model = window[NPM[name]];
  return new window.Upscaler({ model: { ...model, path: `npm/${name}/models/x4/model.json` } });
}

async function openOurs(name, height, width) {
  const { models } = await (await fetch("ours/models.json")).json();
  const model = models.find((one) => one.name === name);
  return open(model, height, width);
}

// Seconds of one run, what runs it, and with `keep` the pixels.
async function run(name, text, height, width, keep) {
  const bytes = toBytes(text);
  const theirs = name in NPM;
  const key = theirs ? name : `${name} ${height}x${width}`;
  if (!opened.has(key)) opened.set(key, await (theirs ? openTheirs(name) : openOurs(name, height, width)));
  const network = opened.get(key);
  const began = performance.now();
  const result = new Uint8ClampedArray(16 * bytes.length);
  if (theirs) {
    const given = tf.tensor3d(bytes, [height, width, 3], "int32");
    const found = await network.execute(given, { output: "tensor" });
    const values = await found.data();
    for (let k = 0; k < values.length; k++) result[k] = values[k];
    given.dispose();
    found.dispose();
  } else {
    const plane = height * width;
    const planes = new Float32Array(3 * plane);
    for (let k = 0; k < plane; k++) for (let c = 0; c < 3; c++) planes[c * plane + k] = bytes[3 * k + c] / 255;
    const values = await network.run(planes);
    const large = 16 * plane;
    for (let k = 0; k < large; k++) for (let c = 0; c < 3; c++) result[3 * k + c] = values[c * large + k] * 255;
  }
  const seconds = (performance.now() - began) / 1000;
  const backend = theirs ? `TensorFlow.js, ${tf.getBackend()}` : `ONNX Runtime Web, ${network.backend}`;
  return { seconds, backend, pixels: keep ? toText(new Uint8Array(result.buffer)) : null };
}

window.start = async (backend) => {
  tf.wasm.setWasmPaths(new URL("npm/wasm/dist/", location.href).href);
  await tf.setBackend(backend);
  await tf.ready();
  window.enlarge = run;
  return tf.getBackend();
};
window.ready = true;
