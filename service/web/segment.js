// An image is opened and segmented, and its answer shown; one call runs, the last wish waits.

import { draw, drawAround } from "./film.js";
import { drawList } from "./instances.js";
import * as panels from "./panels.js";
import { inputOf, lookInside } from "./pictures.js";
import { RESULTS, complain, forget } from "./problem.js";
import { drawCode } from "./repeat.js";
import * as server from "./server.js";
import { fitStage, scene, view } from "./stage.js";
import { $, instanceOf, query, state } from "./state.js";

export async function open(file) {
  state.running?.abort();
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
export function lookAgain() {
  state.running?.abort();
  if (state.image) {
    Object.assign(state.image, { embedding: null, pictures: { input: state.image.pictures.input } });
  }
}

/** Segment what is open with the settings as they are; while one call runs, the last wish waits. */
export async function run() {
  if (!state.image) return;
  if (state.running && !state.running.signal.aborted) {
    state.wanted = true;
    return;
  }
  const mine = (state.running = new AbortController());
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
    if (state.running === mine) {
      state.running = null;
      $("busy").hidden = true;
      $("stage").removeAttribute("aria-busy");
      if (state.wanted) {
        state.wanted = false;
        run();
      }
    }
  }
}

async function show(answer, roundTripMs) {
  const { image } = state;
  const another = !image.plane;
  if (!(await takeInput(image, answer))) return;
  state.answer = answer;
  scene.take(answer);
  if (!instanceOf(scene.chosen)) scene.chosen = 0;
  $("drop").hidden = true;
  $("shown").hidden = false;
  fitStage();
  view.take(answer.image, { another }); // draws the layers
  drawAround();
  drawResults(answer, roundTripMs);
  if (await lookInside()) draw();
}

/** Have the picture of the page and channel of an answer; false if another answer came meanwhile. */
async function takeInput(image, answer) {
  const plane = `${answer.image.page} ${answer.image.channel}`;
  image.newest = answer;
  if (image.plane === plane) return true;
  const input = await inputOf(image); // until then what was shown before stays
  if (state.image !== image || image.newest !== answer) {
    input.close();
    return false; // the answer that came meanwhile is shown with its own
  }
  image.pictures.input = input;
  image.plane = plane;
  return true;
}

function drawResults(answer, roundTripMs) {
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
}
