// The film: what can be shown of the image, in small, one of it large on the stage.

import { element } from "./panels.js";
import { VIEWS } from "./pictures.js";
import { plotSpace } from "./scene.js";
import { drawLayers, scene } from "./stage.js";
import { $, state } from "./state.js";

export function draw() {
  drawLayers();
  scene.outline(null);
  drawAround();
}

/** Draw what lies around the picture: what else can be shown of it, and the space of its vectors. */
export function drawAround() {
  const { pictures } = state.image;
  drawFilm();
  $("space").hidden = !pictures.embedding;
  if (pictures.embedding) plotSpace($("scatter"), pictures.embedding, scene.map, scene.chosen);
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

export function chooseView(name) {
  if ($(`view-${name}`).disabled || !state.answer) return;
  state.view = name;
  draw();
}

/** Go to a neighbour in the film, and around its ends. */
export function stepView(by) {
  const at = VIEWS.findIndex(({ name }) => name === state.view);
  const next = VIEWS[(at + by + VIEWS.length) % VIEWS.length];
  chooseView(next.name);
  $(`view-${next.name}`).focus();
}

export function wireFilm() {
  $("film").replaceChildren(...VIEWS.map(({ name, label }) =>
    element("button", {
      id: `view-${name}`, type: "button", role: "radio", "aria-checked": "false",
      onclick: () => chooseView(name),
    }, element("canvas", { width: 160, height: 160, "aria-hidden": "true" }), label)));
}
