// The instances: one is pointed at, one is chosen, on the stage or in the list.

import { draw } from "./film.js";
import * as panels from "./panels.js";
import { colourOf } from "./scene.js";
import { scene, view } from "./stage.js";
import { $, instanceOf, state } from "./state.js";

const describe = (instance) =>
  `${instance.id}, ${instance.category.name}: score ${instance.score.toFixed(2)}, ${instance.area} px`;

export function drawList() {
  panels.drawInstances($("instances"), $("more"), state.answer, {
    chosen: scene.chosen, colourOf, choose: choosePlaced, point: (instance) => scene.outline(instance),
  });
}

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

/** Isolate an instance that may lie out of sight. */
function choosePlaced(id) {
  choose(id);
  const chosen = instanceOf(scene.chosen);
  if (chosen) view.reveal(chosen.bbox);
}

export function chooseNone() {
  if (scene.chosen) choose(scene.chosen);
}

export function stepInstance(by) {
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
  if (instance !== scene.outlined) scene.outline(instance);
  $("tip").hidden = !instance;
  if (!instance) return;
  $("tip").textContent = describe(instance);
  const box = $("shown").getBoundingClientRect();
  const left = Math.min(event.clientX - box.left + 14, box.width - $("tip").offsetWidth - 4);
  $("tip").style.left = `${Math.max(4, left)}px`;
  $("tip").style.top = `${event.clientY - box.top + 18}px`;
}

export function wireInstances() {
  $("stage").onpointermove = hover;
  $("stage").onpointerleave = () => {
    $("tip").hidden = true;
    if (state.answer) scene.outline(null);
  };
  $("stage").onclick = (event) => {
    if (state.answer) choose(underPointer(event)?.id ?? scene.chosen);
  };
}
