// The stage: the layers of the scene lie where the view has them, in the room the window leaves.

import { Scene } from "./scene.js";
import { $, state } from "./state.js";
import { View } from "./view.js";

const CRISP = 2; // pixels of the screen for one that is drawn, from which on its edges are kept sharp

export const scene = new Scene({ base: $("base"), overlay: $("overlay"), highlight: $("highlight") });
export const view = new View($("stage"), () => showPart());

export function drawLayers() {
  const { pictures } = state.image;
  scene.ground(pictures[state.view] ?? pictures.input);
  scene.instances({ visible: state.view === "instances" });
}

/** Put the layers where the view has them, drawn again if it shows more than they hold. */
function showPart() {
  if (!scene.map) return; // the first answer is under way
  $("tip").hidden = true; // another instance may have come under the pointer, which says so when it moves
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

/** Give the picture what the window leaves it: all the width, and the height that it needs of it. */
export function fitStage() {
  const { width, height } = state.answer.image;
  const wide = $("shown").clientWidth;
  const most = Math.max(320, innerHeight - 330); // what the caption and the row below leave
  $("stage").style.height = `${Math.floor(Math.min(most, (wide * height) / width))}px`;
}

export function wireStage() {
  addEventListener("resize", () => {
    if (!state.answer) return;
    fitStage();
    view.resize();
  });
  $("zoom-in").onclick = () => view.enlarge();
  $("zoom-out").onclick = () => view.reduce();
  $("zoom-fit").onclick = () => view.fit();
}
