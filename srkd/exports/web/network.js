// ONNX Runtime on WebGPU, where it computes what WASM computes, else on WASM. Sizes are fixed when a session
// starts, so that each network is planned and compiled for one shape.

const ORT = new URL("./ort/", import.meta.url);
// Largest difference between the two, in image units: half an 8-bit level.
const BOUND = 0.5 / 255;

let runtime;

async function openRuntime() {
  const adapter = await navigator.gpu?.requestAdapter().catch(() => null);
  const ort = await import(new URL(adapter ? "ort.webgpu.min.mjs" : "ort.wasm.min.mjs", ORT));
  ort.env.logLevel = "error";
  ort.env.wasm.wasmPaths = ORT.href;
  // Threads share memory, which browsers allow with COOP and COEP headers alone.
  ort.env.wasm.numThreads = self.crossOriginIsolated ? Math.min(navigator.hardwareConcurrency || 1, 16) : 1;
  return { ort, gpu: Boolean(adapter) };
}

// Opens a model for windows of one size. Returns `run`, from planes (3, height, width) in [0, 1] to enlarged ones,
// and what runs it, in words.
export async function open(model, height, width) {
  runtime ??= await openRuntime();
  const answer = await fetch(new URL(`models/${encodeURIComponent(model.file)}`, import.meta.url), { cache: "no-cache" });
  if (!answer.ok) throw new Error(`the server does not give models/${model.file} (${answer.status})`);
  const bytes = new Uint8Array(await answer.arrayBuffer());
  if (runtime.gpu && (await agrees(bytes))) {
    try {
      const { run } = await start(bytes, "webgpu", height, width);
      return { run, backend: "WebGPU" };
    } catch (error) {
      console.warn("WebGPU failed, WASM takes over:", error);
    }
  }
  const { run } = await start(bytes, "wasm", height, width);
  const threads = runtime.ort.env.wasm.numThreads;
  return { run, backend: `WASM, ${threads} thread${threads > 1 ? "s" : ""}` };
}

async function start(bytes, provider, height, width) {
  const { ort } = runtime;
  const session = await ort.InferenceSession.create(bytes, {
    executionProviders: [provider],
    freeDimensionOverrides: { batch: 1, height, width },
  });
  const run = async (planes) => {
    const given = new ort.Tensor("float32", planes, [1, 3, height, width]);
    const found = await session.run({ [session.inputNames[0]]: given });
    const result = found[session.outputNames[0]];
    const values = await result.getData();
    if (values.length) return values;
    throw new Error("the network gave nothing");
  };
  return { run, session };
}

// Whether WebGPU computes a small picture of noise as WASM does; some drivers do not.
async function agrees(bytes) {
  const [height, width] = [24, 32];
  const planes = Float32Array.from({ length: 3 * height * width }, (_, i) => Math.sin(i * i) / 2 + 0.5);
  const results = [];
  try {
    for (const provider of ["webgpu", "wasm"]) {
      const { run, session } = await start(bytes, provider, height, width);
      results.push(Float32Array.from(await run(planes)));
      await session.release();
    }
  } catch (error) {
    console.warn("WebGPU failed, WASM takes over:", error);
    return false;
  }
  // NaN is never within the bound.
  const alike = results[0].every((value, i) => Math.abs(value - results[1][i]) <= BOUND);
  if (!alike) console.warn("WebGPU computes something else than WASM, which takes over");
  return alike;
}
