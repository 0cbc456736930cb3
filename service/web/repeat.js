// The lines that repeat what is on screen elsewhere, in either language.

import * as panels from "./panels.js";
import { hasKey } from "./server.js";
import { $, state } from "./state.js";

const LANGUAGES = { curl: panels.curlLine, python: panels.pythonLines };

export function drawCode() {
  const origin = new URL(".", location.href).href;
  const settings = { ...state.settings };
  const standard = state.models.find((model) => model.default)?.name;
  if ($("model").value !== standard) settings.model = $("model").value;
  const write = LANGUAGES[state.language];
  const slow = state.answer?.timings_ms.total > state.limits?.default_timeout_ms / 2;
  const timeoutMs = slow ? state.limits.timeout_ms.max : undefined;
  $("lines").textContent = write(origin, state.image.file.name, settings, { key: hasKey(), timeoutMs });
}

function chooseLanguage(language) {
  state.language = language;
  for (const name of Object.keys(LANGUAGES)) {
    $(`tab-${name}`).setAttribute("aria-selected", String(name === language));
    $(`tab-${name}`).tabIndex = name === language ? 0 : -1;
  }
  $("lines").setAttribute("aria-labelledby", `tab-${language}`);
  drawCode();
}

async function copy() {
  try {
    await navigator.clipboard.writeText($("lines").textContent);
    $("copy").textContent = "copied";
  } catch { // there is no clipboard on plain http, or it is not allowed
    getSelection().selectAllChildren($("lines"));
    $("copy").textContent = "selected";
  }
  setTimeout(() => ($("copy").textContent = "copy"), 1500);
}

export function wireRepeat() {
  $("copy").onclick = copy;
  for (const name of Object.keys(LANGUAGES)) $(`tab-${name}`).onclick = () => chooseLanguage(name);
  document.querySelector(".tabs").onkeydown = (event) => {
    if (!["ArrowLeft", "ArrowRight"].includes(event.key)) return;
    chooseLanguage(state.language === "curl" ? "python" : "curl");
    $(`tab-${state.language}`).focus();
  };
}
