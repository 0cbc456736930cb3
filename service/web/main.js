// The page: an image comes in, its instances are shown, settings cluster it again.

import * as server from "./server.js";
import * as panels from "./panels.js";
import { Scene, colourOf, plotSpace } from "./scene.js";
import { View } from "./view.js";

const $ = (id) => document.getElementById(id);
const { element } = panels;
const VIEWS = [
  { name: "input", label: "Input", format: "input_png" },
  { name: "foreground", label: "Foreground", format: "foreground_png" },
  { name: "embedding", label: "Embedding", format: "embedding_png" },
  { name: "instances", label: "Instances" },
];
const SAVES = {
  rle: "json", rle_uncompressed: "json", polygons: "json", coco: "json",
  label_png: "png", overlay_png: "png", embedding_png: "png", imagej_zip: "zip",
};

const CRISP = 2; // pixels of the screen for one that is drawn, from which on its edges are kept sharp

const RESULTS = ["found", "time", "save", "code"]; // panels of an answer

const scene = new Scene({ base: $("base"), overlay: $("overlay"), highlight: $("highlight") });
const view = new View($("stage"), () => showPart());
const state = {
  image: null, // {file, embedding, pictures by view}
  answer: null,
  settings: {}, // what differs from what the model says
  view: "instances",
  models: [], limits: null, language: "curl",
};
let running = null; // AbortController of the call under way
let wanted = false; // settings moved on while a call was under way

// ---- an image comes in --------------------------------------------------------------------------

async function open(file) {
  running?.abort();
  for (const picture of Object.values(state.image?.pictures ?? {})) picture?.close();
  state.image = { file, embedding: null, pictures: {} };
  state.answer = null;
  scene.chosen = 0;
  delete state.settings.page;
  $("page").value = 0;
  forget();
  $("summary").textContent = `Segmenting ${file.name} …`;
  $("drop").hidden = true;
  $("shown").hidden = false;
  await run();
}

/** Have the network look at what is open again: what it saw was of another model or scale. */
function lookAgain() {
  running?.abort();
  if (state.image) {
    Object.assign(state.image, { embedding: null, pictures: { input: state.image.pictures.input } });
  }
}

/** Segment another page of the file, or another channel; undefined for the first, and for all. */
function choosePlane(name, value) {
  state.settings[name] = value;
  lookAgain();
  run();
}

/** Segment what is open with the settings as they are; while one call runs, the last wish waits. */
async function run() {
  if (!state.image) return;
  if (running && !running.signal.aborted) {
    wanted = true;
    return;
  }
  const mine = (running = new AbortController());
  const { image } = state;
  $("busy").hidden = false;
  $("stage").setAttribute("aria-busy", "true");
  const began = performance.now();
  try {
    const { response, embedding } = await server.segment(image, query(), mine.signal);
    const answer = await response.json();
    if (mine.signal.aborted) return;
    forget();
    image.embedding = embedding;
    await show(answer, performance.now() - began);
  } catch (error) {
    if (error.name !== "AbortError" && !mine.signal.aborted) complain(error);
  } finally {
    if (running === mine) {
      running = null;
      $("busy").hidden = true;
      $("stage").removeAttribute("aria-busy");
      if (wanted) {
        wanted = false;
        run();
      }
    }
  }
}

/** What is asked, with all the time there is: who waits sees it, and may open another image. */
const query = (more = {}) => ({
  model: $("model").value, timeout_ms: state.limits?.timeout_ms.max, ...state.settings, ...more,
});

// ---- what is shown ------------------------------------------------------------------------------

async function show(answer, roundTripMs) {
  const { image } = state;
  const another = !image.plane;
  const plane = `${answer.image.page} ${answer.image.channel}`;
  image.newest = answer;
  if (image.plane !== plane) {
    const input = await inputOf(image); // until then what was shown before stays
    if (state.image !== image || image.newest !== answer) {
      input.close();
      return; // the answer that came meanwhile is shown with its own
    }
    image.pictures.input = input;
    image.plane = plane;
  }
  state.answer = answer;
  scene.take(answer);
  if (!answer.instances.some(({ id }) => id === scene.chosen)) scene.chosen = 0;
  $("drop").hidden = true;
  $("shown").hidden = false;
  fitStage();
  view.take(answer.image, { another }); // draws the layers
  drawAround();
  const n = answer.instances.length;
  $("summary").textContent =
    `${n} ${n === 1 ? "instance" : "instances"} in ${answer.image.width} × ${answer.image.height} ` +
    `pixels, ${Math.round(roundTripMs)} ms` +
    (answer.image.scaled_range ? `, scaled from ${answer.image.source_bits} bits` : "");
  $("stage").dataset.ms = roundTripMs.toFixed(1);
  $("pages").hidden = answer.image.format !== "tiff" || answer.image.frames < 2;
  $("page").max = answer.image.frames - 1;
  $("count").textContent = n;
  drawList();
  if (state.settings.scale === "auto") panels.showFound($("scale"), answer.image.scale);
  panels.drawTimings($("timings"), answer.timings_ms, roundTripMs);
  drawCode();
  for (const id of RESULTS) $(id).hidden = false;
  await lookInside();
}

/** The image itself, decoded here if this browser can, else by the server. */
async function inputOf(image) {
  const { page, channel } = state.settings;
  if (page !== undefined || channel !== undefined) return picture(image, "input_png");
  try {
    return await createImageBitmap(image.file);
  } catch {
    return picture(image, "input_png");
  }
}

async function picture(image, format) {
  const { response } = await server.segment(image, query({ format }));
  return createImageBitmap(await response.blob());
}

/** Fetch what the network saw, once per image, model and scale; only while the server still holds it. */
async function lookInside() {
  const { image } = state;
  for (const { name, format } of VIEWS) {
    if (!format || image.pictures[name] || !image.embedding) continue;
    try {
      image.pictures[name] = await picture(image, format);
    } catch (error) {
      complain(error);
      return;
    }
    if (state.image !== image) return;
  }
  draw();
}

function draw() {
  drawLayers();
  scene.outline(null);
  drawAround();
}

/** Draw what lies around the picture: what else can be shown of it, and the space of its vectors. */
function drawAround() {
  const { pictures } = state.image;
  drawFilm();
  $("space").hidden = !pictures.embedding;
  if (pictures.embedding) plotSpace($("scatter"), pictures.embedding, scene.map, scene.chosen);
}

function drawLayers() {
  const { pictures } = state.image;
  scene.ground(pictures[state.view] ?? pictures.input);
  scene.instances({ visible: state.view === "instances" });
}

/** Put the layers where the view has them, drawn again if it shows more than they hold. */
function showPart() {
  if (!scene.map) return; // the first answer is under way
  const dots = view.scale * devicePixelRatio;
  if (state.answer && scene.look(view.visible, dots)) {
    drawLayers();
    scene.outline(scene.outlined);
  }
  const { left, top, columns, rows, step } = scene.cut;
  const { style, classList } = $("layers");
  style.left = `${view.x + left * view.scale}px`;
  style.top = `${view.y + top * view.scale}px`;
  style.width = `${columns * step * view.scale}px`;
  style.height = `${rows * step * view.scale}px`;
  classList.toggle("crisp", dots * step >= CRISP);
  $("zoom").value = `${Math.round(100 * view.scale)} %`;
  $("zoom-out").ariaDisabled = $("zoom-fit").ariaDisabled = !view.zoomed;
  $("zoom-in").ariaDisabled = view.scale >= view.most;
}

function drawFilm() {
  const { pictures } = state.image;
  const overview = scene.overview();
  for (const { name, format } of VIEWS) {
    const button = $(`view-${name}`);
    button.setAttribute("aria-checked", String(name === state.view));
    button.tabIndex = name === state.view ? 0 : -1;
    button.disabled = Boolean(format && !pictures[name] && !state.image.embedding);
    const context = button.firstChild.getContext("2d");
    const { width, height } = context.canvas;
    const source = pictures[format ? name : "input"];
    if (!source) {
      context.clearRect(0, 0, width, height); // what is there is of another image
      continue;
    }
    const side = Math.min(source.width, source.height);
    const cut = [(source.width - side) / 2, (source.height - side) / 2, side, side];
    context.drawImage(source, ...cut, 0, 0, width, height);
    if (format) continue;
    const scale = overview.width / source.width;
    context.drawImage(overview, ...cut.map((value) => value * scale), 0, 0, width, height);
  }
}

function drawList() {
  panels.drawInstances($("instances"), $("more"), state.answer, {
    chosen: scene.chosen, colourOf, choose: choosePlaced, point: (instance) => scene.outline(instance),
  });
}

function drawCode() {
  const origin = new URL(".", location.href).href;
  const settings = { ...state.settings };
  const standard = state.models.find((model) => model.default)?.name;
  if ($("model").value !== standard) settings.model = $("model").value;
  const write = state.language === "curl" ? panels.curlLine : panels.pythonLines;
  const slow = state.answer?.timings_ms.total > state.limits?.default_timeout_ms / 2;
  const timeoutMs = slow ? state.limits.timeout_ms.max : undefined;
  $("lines").textContent = write(origin, state.image.file.name, settings, { key: server.hasKey(), timeoutMs });
}

/** Give the picture what the window leaves it: all the width, and the height that it needs of it. */
function fitStage() {
  const { width, height } = state.answer.image;
  const wide = $("shown").clientWidth;
  const most = Math.max(320, innerHeight - 330); // what the caption and the row below leave
  $("stage").style.height = `${Math.floor(Math.min(most, (wide * height) / width))}px`;
}

// ---- instances ----------------------------------------------------------------------------------

const instanceOf = (id) => state.answer?.instances.find((instance) => instance.id === id);

/** Isolate an instance; the same again, or 0, shows all. */
function choose(id) {
  if (!state.answer) return;
  scene.chosen = id === scene.chosen ? 0 : id;
  draw();
  drawList();
  const item = $(`instance-${scene.chosen}`);
  if (item) panels.scrollTo($("instances"), item);
  $("instances").setAttribute("aria-activedescendant", item?.id ?? "");
  const chosen = instanceOf(scene.chosen);
  if (chosen) $("summary").textContent = `Instance ${describe(chosen)}`;
}

const describe = (instance) =>
  `${instance.id}, ${instance.category.name}: score ${instance.score.toFixed(2)}, ${instance.area} px`;

/** Isolate an instance that may lie out of sight. */
function choosePlaced(id) {
  choose(id);
  const chosen = instanceOf(scene.chosen);
  if (chosen) view.reveal(chosen.bbox);
}

function step(by) {
  const ids = state.answer?.instances.map(({ id }) => id) ?? [];
  if (!ids.length) return;
  const at = ids.indexOf(scene.chosen);
  const next = at < 0 ? (by > 0 ? 0 : ids.length - 1) : (at + by + ids.length) % ids.length;
  scene.chosen = 0;
  choosePlaced(ids[next]);
}

const underPointer = (event) => instanceOf(scene.at(...view.at(view.placeOf(event))));

function hover(event) {
  if (!state.answer) return;
  const instance = underPointer(event);
  scene.outline(instance);
  $("tip").hidden = !instance;
  if (!instance) return;
  $("tip").textContent = describe(instance);
  const box = $("shown").getBoundingClientRect();
  const left = Math.min(event.clientX - box.left + 14, box.width - $("tip").offsetWidth - 4);
  $("tip").style.left = `${Math.max(4, left)}px`;
  $("tip").style.top = `${event.clientY - box.top + 18}px`;
}

// ---- errors -------------------------------------------------------------------------------------

function complain(error) {
  const details = error.details ?? { title: "The page failed", detail: error.message };
  $("problem-title").textContent = details.title;
  $("problem-detail").textContent =
    details.detail + (details.retry_after ? ` Worth trying again in ${details.retry_after} s.` : "");
  $("problem-id").textContent = details.request_id ? `Request ${details.request_id}` : "";
  $("key-form").hidden = details.status !== 401;
  $("retry").hidden = !(details.status === 0 || details.status >= 500 || details.status === 429);
  $("problem").hidden = false;
  if (details.status === 401) $("key").select();
  if (state.image && !state.answer) {
    $("shown").hidden = true;
    $("drop").hidden = false;
    for (const id of [...RESULTS, "space"]) $(id).hidden = true; // they are of the image before
  }
}

const forget = () => ($("problem").hidden = true);

// ---- results to keep ----------------------------------------------------------------------------

async function save(format) {
  try {
    const { response } = await server.segment(state.image, query({ format }));
    const stem = state.image.file.name.replace(/\.[^.]+$/, "");
    const link = element("a", {
      href: URL.createObjectURL(await response.blob()), download: `${stem}.${format}.${SAVES[format]}`,
    });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
  } catch (error) {
    complain(error);
  }
}

// ---- wiring -------------------------------------------------------------------------------------

function chooseView(name) {
  if ($(`view-${name}`).disabled || !state.answer) return;
  state.view = name;
  draw();
}

function chooseModel() {
  const model = state.models.find(({ name }) => name === $("model").value);
  state.settings = {};
  $("channel").value = "";
  $("page").value = 0;
  panels.drawSliders($("sliders"), panels.slidersOf(model, state.limits), (name, value) => {
    state.settings[name] = value;
    if (name === "scale") lookAgain();
    run();
  });
}

function chooseLanguage(language) {
  state.language = language;
  for (const name of ["curl", "python"]) {
    $(`tab-${name}`).setAttribute("aria-selected", String(name === language));
    $(`tab-${name}`).tabIndex = name === language ? 0 : -1;
  }
  $("lines").setAttribute("aria-labelledby", `tab-${language}`);
  drawCode();
}

const first = (list) => [...(list ?? [])].find((file) => file instanceof File);

function wire() {
  $("choose").onclick = $("another").onclick = () => $("file").click();
  $("file").onchange = () => {
    const file = first($("file").files);
    $("file").value = "";
    if (file) open(file);
  };
  addEventListener("paste", (event) => {
    const file = first(event.clipboardData?.files);
    if (file) open(file);
  });
  addEventListener("dragover", (event) => {
    event.preventDefault();
    if (event.dataTransfer?.types.includes("Files")) document.body.classList.add("dragging");
  });
  addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) document.body.classList.remove("dragging");
  });
  addEventListener("drop", (event) => {
    event.preventDefault();
    document.body.classList.remove("dragging");
    const file = first(event.dataTransfer?.files);
    if (file) open(file);
  });
  $("model").onchange = () => {
    chooseModel();
    lookAgain();
    run();
  };
  $("reset").onclick = () => {
    const { scale, page, channel } = state.settings;
    chooseModel();
    if ([scale, page, channel].some((value) => value !== undefined)) lookAgain();
    run();
  };
  $("channel").onchange = () => {
    const value = $("channel").value;
    choosePlane("channel", value === "" ? undefined : Number(value));
  };
  $("page").onchange = () => {
    const input = $("page");
    if (input.reportValidity()) choosePlane("page", input.valueAsNumber || undefined);
  };
  $("stage").onpointermove = hover;
  $("stage").onpointerleave = () => {
    $("tip").hidden = true;
    if (state.answer) scene.outline(null);
  };
  $("stage").onclick = (event) => {
    if (state.answer) choose(underPointer(event)?.id ?? scene.chosen);
  };
  $("dismiss").onclick = forget;
  $("retry").onclick = () => (state.models.length ? (forget(), state.image && open(state.image.file)) : start());
  $("key-form").onsubmit = (event) => {
    event.preventDefault();
    server.useKey($("key").value);
    forget();
    if (!state.models.length) start();
    else if (state.image) open(state.image.file);
  };
  $("copy").onclick = async () => {
    try {
      await navigator.clipboard.writeText($("lines").textContent);
      $("copy").textContent = "copied";
    } catch { // there is no clipboard on plain http, or it is not allowed
      getSelection().selectAllChildren($("lines"));
      $("copy").textContent = "selected";
    }
    setTimeout(() => ($("copy").textContent = "copy"), 1500);
  };
  for (const name of ["curl", "python"]) $(`tab-${name}`).onclick = () => chooseLanguage(name);
  document.querySelector(".tabs").onkeydown = (event) => {
    if (!["ArrowLeft", "ArrowRight"].includes(event.key)) return;
    chooseLanguage(state.language === "curl" ? "python" : "curl");
    $(`tab-${state.language}`).focus();
  };
  addEventListener("keydown", keys);
  addEventListener("resize", () => {
    if (!state.answer) return;
    fitStage();
    view.resize();
  });
  $("zoom-in").onclick = () => view.enlarge();
  $("zoom-out").onclick = () => view.reduce();
  $("zoom-fit").onclick = () => view.fit();
  $("film").replaceChildren(...VIEWS.map(({ name, label }) =>
    element("button", {
      id: `view-${name}`, type: "button", role: "radio", "aria-checked": "false",
      onclick: () => chooseView(name),
    }, element("canvas", { width: 160, height: 160, "aria-hidden": "true" }), label)));
  $("downloads").replaceChildren();
}

function keys(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const inField = event.target.closest("input, select, textarea, [role=tablist], pre");
  if (event.key === "Escape") {
    if (scene.chosen) choose(scene.chosen);
    return;
  }
  if (inField || (state.answer && view.key(event))) return;
  if (event.key === "o") $("file").click();
  const shown = VIEWS[Number(event.key) - 1];
  if (shown && state.image) chooseView(shown.name);
  const by = { ArrowLeft: -1, ArrowUp: -1, ArrowRight: 1, ArrowDown: 1 }[event.key];
  if (!by || !state.answer) return;
  const films = event.target.closest("#film");
  if (!films && !event.target.closest("#stage, #instances")) return;
  event.preventDefault();
  if (!films) return step(by);
  const at = VIEWS.findIndex(({ name }) => name === state.view);
  const next = VIEWS[(at + by + VIEWS.length) % VIEWS.length];
  chooseView(next.name);
  $(`view-${next.name}`).focus();
}

const mega = (value, unit) => `${Number((value / unit).toPrecision(3))}`;

function drawLimits(limits) {
  const bytes = `${mega(limits.max_body_bytes, 2 ** 20)} MiB`;
  const pixels = `${mega(limits.max_image_pixels, 1e6)} megapixels`;
  const kinds = limits.media_types.filter((type) => type.startsWith("image/")).map((type) => type.slice(6));
  $("limits").textContent = `${kinds.join(", ")} · up to ${bytes} and ${pixels}`;
  const rows = {
    "largest file": bytes, "largest image": pixels, "longest side": `${limits.max_image_side_px} px`,
    "time for an answer": `${limits.timeout_ms.max / 1000} s`, "most instances": limits.max_instances.max,
    "at once": `${limits.in_flight}, ${limits.queue} may wait`,
  };
  $("limit-list").replaceChildren(
    ...Object.entries(rows).flatMap(([name, value]) => [
      element("dt", {}, name), element("dd", {}, String(value)),
    ]),
  );
  $("downloads").replaceChildren(
    ...Object.keys(SAVES).filter((format) => limits.formats.includes(format)).map((format) =>
      element("button", { type: "button", id: `save-${format}`, onclick: () => save(format) }, format)),
  );
}

async function openExample(file, model) {
  try {
    if (state.models.some(({ name }) => name === model)) {
      $("model").value = model;
      chooseModel();
    }
    await open(await server.example(file));
  } catch (error) {
    complain(error);
  }
}

async function start() {
  forget();
  try {
    [state.models, state.limits] = await Promise.all([server.models(), server.limits()]);
    if (!state.models.length) throw new server.Problem({ status: 503, detail: "no model is ready" });
    $("choose").disabled = false;
    $("model").replaceChildren(...state.models.map(({ name, method }) =>
      element("option", { value: name, title: method }, name)));
    $("model").value = (state.models.find((model) => model.default) ?? state.models[0])?.name;
    drawLimits(state.limits);
    chooseModel();
    const shipped = await server.examples();
    $("examples").replaceChildren(...shipped.map(({ file, title, model }) =>
      element("li", {}, element("button", {
        type: "button",
        onclick: () => openExample(file, model),
      }, element("img", { src: `web/examples/${file}`, alt: "" }), title))));
  } catch (error) {
    if (error.details?.status !== 503) return complain(error);
    $("choose").disabled = true;
    $("limits").textContent = "The server is not ready yet …";
    setTimeout(start, 1000);
  }
}

wire();
start();
