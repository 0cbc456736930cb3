// Files come in: chosen, pasted, dropped, or an example that the server ships.

import { element } from "./panels.js";
import { complain } from "./problem.js";
import { open } from "./segment.js";
import * as server from "./server.js";
import { chooseModel } from "./settings.js";
import { $, state } from "./state.js";

export const chooseFile = () => $("file").click();

/** Open the first file of a list, if there is one. */
function openFirst(list) {
  const file = [...(list ?? [])].find((item) => item instanceof File);
  if (file) open(file);
}

export function wireFiles() {
  $("choose").onclick = $("another").onclick = chooseFile;
  $("file").onchange = () => {
    const chosen = [...$("file").files];
    $("file").value = ""; // the same may be chosen again
    openFirst(chosen);
  };
  addEventListener("paste", (event) => openFirst(event.clipboardData?.files));
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
    openFirst(event.dataTransfer?.files);
  });
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

export function drawExamples(shipped) {
  $("examples").replaceChildren(...shipped.map(({ file, title, model }) =>
    element("li", {}, element("button", {
      type: "button",
      onclick: () => openExample(file, model),
    }, element("img", { src: `web/examples/${file}`, alt: "" }), title))));
}
