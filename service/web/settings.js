// What is set: the model, its sliders, and the plane of the file that is looked at.

import * as panels from "./panels.js";
import { lookAgain, run } from "./segment.js";
import { $, state } from "./state.js";

/** Set everything as the chosen model says. */
export function chooseModel() {
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

/** Segment another page of the file, or another channel; undefined for the first, and for all. */
function choosePlane(name, value) {
  state.settings[name] = value;
  lookAgain();
  run();
}

export function wireSettings() {
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
}
