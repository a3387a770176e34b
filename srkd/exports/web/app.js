// The page: takes a picture, has the worker enlarge it, shows it beside the original.

const $ = (id) => document.getElementById(id);
const page = Object.fromEntries(
  ["file", "model", "about", "work", "progress", "cancel", "status", "result", "viewport", "compare", "before",
    "after", "split", "download", "zoom", "hint"].map((id) => [id, $(id)]),
);

let models = [];
let worker = null;
let job = null;
let last = null;

async function setUp() {
  $("unserved").hidden = true;
  // Asked for again each time: the folder may have been written anew, under the same names.
  const answer = await fetch("models.json", { cache: "no-cache" });
  if (!answer.ok) throw new Error(`the server does not give models.json (${answer.status})`);
  ({ models } = await answer.json());
  page.model.replaceChildren(...models.map(({ name }, i) => new Option(name, i)));
  describe();
}

const chosen = () => models[page.model.value];

function describe() {
  const { scale, use, license } = chosen();
  page.about.textContent = [`${scale} times the size`, use, `licence: ${license}`].filter(Boolean).join("; ");
}

function say(text, wrong = false) {
  page.status.textContent = text;
  page.status.classList.toggle("error", wrong);
}

// Ends what runs; a worker in the middle of a tile hears nothing, so it is replaced.
function stop() {
  if (job === null) return;
  worker.terminate();
  worker = job = null;
  rest();
}

function rest() {
  page.work.hidden = true;
  page.result.classList.remove("running");
}

function begin(file) {
  if (!file || models.length === 0) return;
  stop();
  forget();
  last = file;
  job = { file, model: chosen(), began: performance.now() };
  page.progress.removeAttribute("value");
  page.work.hidden = false;
  page.result.hidden = true;
  page.result.classList.add("running");
  document.body.classList.remove("empty");
  say(`Opening ${file.name}`);
  worker ??= new Worker("worker.js", { type: "module" });
  worker.onmessage = ({ data }) => answers[data.kind](data);
  worker.onerror = (event) => answers.error({ message: event.message || "the page's worker did not start" });
  worker.postMessage({ file, model: job.model });
}

// Frees the pictures shown before.
function forget() {
  for (const url of [page.before.src, page.download.href]) if (url) URL.revokeObjectURL(url);
  page.before.removeAttribute("src");
  page.download.removeAttribute("href");
  page.download.hidden = true;
}

const answers = {
  start({ width, height, source, step, backend }) {
    Object.assign(job, { width, height, source, backend, started: performance.now() });
    page.before.src = URL.createObjectURL(job.file);
    page.after.width = Math.ceil(width / step);
    page.after.height = Math.ceil(height / step);
    page.result.hidden = false;
    fit();
    say(`${job.file.name}: ${source.width}x${source.height} to ${width}x${height} on ${backend}`);
  },
  progress({ done, total }) {
    page.progress.value = done / total;
    const left = ((performance.now() - job.started) / done) * (total - done);
    const estimate = done < total ? `, about ${inWords(left / 1000)} left` : "";
    say(`${job.file.name}: ${Math.floor((100 * done) / total)} % on ${job.backend}${estimate}`);
  },
  rows({ top, columns, rgba }) {
    if (rgba.length) page.after.getContext("2d").putImageData(new ImageData(rgba, columns), 0, top);
  },
  done({ blob }) {
    page.download.href = URL.createObjectURL(blob);
    page.download.download = `${job.file.name.replace(/\.[^.]*$/, "")}_x${job.model.scale}.png`;
    page.download.hidden = false;
    const seconds = inWords((performance.now() - job.began) / 1000);
    say(`${job.file.name}: ${job.source.width}x${job.source.height} to ${job.width}x${job.height} by ` +
      `${job.model.name} in ${seconds} on ${job.backend}. The PNG has 8 bits, sRGB colours and no EXIF.`);
    rest();
    job = null;
  },
  error({ message }) {
    const { name } = job.file;
    // Whatever state it is in, the next picture gets a new one.
    stop();
    page.result.hidden = true;
    say(`${name}: ${message}`, true);
  },
};

function inWords(seconds) {
  return seconds < 90 ? `${Math.max(1, Math.round(seconds))} s` : `${Math.round(seconds / 60)} min`;
}

// The whole picture in the window, or one pixel of it on one of the screen.
let shown = null;
let actual = false;
function fit() {
  if (job) shown = { width: job.width, height: job.height };
  if (!shown) return;
  page.viewport.classList.toggle("fitted", !actual);
  const most = Math.min(page.viewport.clientWidth, (window.innerHeight * 0.62 * shown.width) / shown.height);
  const width = actual ? shown.width / window.devicePixelRatio : most;
  page.compare.style.width = `${width}px`;
  page.compare.style.height = `${(width * shown.height) / shown.width}px`;
}

function split(percent) {
  page.compare.style.setProperty("--split", `${percent}%`);
}

function follow(event) {
  if (!page.viewport.classList.contains("fitted") || event.buttons === 0) return;
  const { left, width } = page.compare.getBoundingClientRect();
  page.split.value = (100 * (event.clientX - left)) / width;
  split(page.split.value);
}

page.file.addEventListener("change", () => {
  begin(page.file.files[0]);
  // So that the same file can be chosen again.
  page.file.value = "";
});
page.model.addEventListener("change", () => {
  describe();
  begin(last);
});
page.cancel.addEventListener("click", () => {
  const { name } = job.file;
  stop();
  page.result.hidden = true;
  say(`${name}: cancelled`);
});
page.split.addEventListener("input", () => split(page.split.value));
page.zoom.addEventListener("click", () => {
  actual = !actual;
  page.zoom.textContent = actual ? "Fit to the window" : "Actual size";
  fit();
  page.viewport.scrollTo((page.compare.offsetWidth - page.viewport.clientWidth) / 2,
    (page.compare.offsetHeight - page.viewport.clientHeight) / 2);
});
for (const kind of ["pointerdown", "pointermove"]) page.compare.addEventListener(kind, follow);
window.addEventListener("resize", fit);
document.addEventListener("paste", (event) => begin(event.clipboardData.files[0]));
document.addEventListener("dragover", (event) => {
  event.preventDefault();
  document.body.classList.add("dragging");
});
document.addEventListener("dragleave", (event) => {
  if (event.relatedTarget === null) document.body.classList.remove("dragging");
});
document.addEventListener("drop", (event) => {
  event.preventDefault();
  document.body.classList.remove("dragging");
  begin(event.dataTransfer.files[0]);
});
document.getElementById("controls").addEventListener("submit", (event) => event.preventDefault());

setUp().catch((error) => say(`The page could not start: ${error.message}`, true));
