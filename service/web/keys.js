// Keys that hold for the whole page.

import { chooseFile } from "./files.js";
import { chooseView, stepView } from "./film.js";
import { chooseNone, stepInstance } from "./instances.js";
import { VIEWS } from "./pictures.js";
import { view } from "./stage.js";
import { state } from "./state.js";

const STEPS = { ArrowLeft: -1, ArrowUp: -1, ArrowRight: 1, ArrowDown: 1 };

export const wireKeys = () => addEventListener("keydown", press);

function press(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "Escape") return chooseNone();
  const inField = event.target.closest("input, select, textarea, [role=tablist], pre");
  if (inField || (state.answer && view.key(event))) return;
  if (event.key === "o") chooseFile();
  const shown = VIEWS[Number(event.key) - 1];
  if (shown && state.image) chooseView(shown.name);
  const by = STEPS[event.key];
  if (by && state.answer) step(event, by);
}

/** Arrows step through what has the focus: views, or instances. */
function step(event, by) {
  const inFilm = event.target.closest("#film");
  if (!inFilm && !event.target.closest("#stage, #instances")) return;
  event.preventDefault();
  if (inFilm) stepView(by);
  else stepInstance(by);
}
