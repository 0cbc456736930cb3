// The page: an image comes in, its instances are shown, settings cluster it again.

import { drawExamples, wireFiles } from "./files.js";
import { wireFilm } from "./film.js";
import { wireInstances } from "./instances.js";
import { wireKeys } from "./keys.js";
import { drawLimits } from "./limits.js";
import { element } from "./panels.js";
import { complain, forget } from "./problem.js";
import { wireRepeat } from "./repeat.js";
import { drawDownloads } from "./save.js";
import { open } from "./segment.js";
import * as server from "./server.js";
import { chooseModel, wireSettings } from "./settings.js";
import { wireStage } from "./stage.js";
import { $, state } from "./state.js";

/** Ask what the server has; while it is not ready, again. */
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
    drawDownloads(state.limits);
    chooseModel();
    drawExamples(await server.examples());
  } catch (error) {
    if (error.details?.status !== 503) return complain(error);
    $("choose").disabled = true;
    $("limits").textContent = "The server is not ready yet …";
    setTimeout(start, 1000);
  }
}

/** Go on where a problem stopped the page. */
function retry() {
  forget();
  if (!state.models.length) start();
  else if (state.image) open(state.image.file);
}

function wireProblem() {
  $("dismiss").onclick = forget;
  $("retry").onclick = retry;
  $("key-form").onsubmit = (event) => {
    event.preventDefault();
    server.useKey($("key").value);
    retry();
  };
}

wireFilm();
wireFiles();
wireSettings();
wireStage();
wireInstances();
wireRepeat();
wireKeys();
wireProblem();
start();
