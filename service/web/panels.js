// The panels beside the picture: sliders, instances, times, downloads, lines to repeat the call.

import { queryOf } from "./server.js";

const STAGES = ["decode", "queue", "inference", "postprocess", "encode"];

/** Make an element with attributes and children; `on…` attributes are listeners. */
export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else if (value !== undefined && value !== false) made.setAttribute(key, value === true ? "" : value);
  }
  made.append(...children);
  return made;
}

/** What can be adjusted, from what the model and the server say. */
export function slidersOf(model, limits) {
  const decoder = model.decoder ?? {};
  const bandwidth = decoder.bandwidth ?? 1.5;
  const byDistance = ["discriminative", "associative"].includes(model.method);
  const scale = {
    name: "scale", label: "Scale", unit: " ×", initial: 1, step: 0.05,
    min: Math.max(0.1, limits.scale.min), max: Math.min(4, limits.scale.max),
    hint: "By how much larger the network sees the image: below 1 where objects are large",
    auto: "Look at several scales and take the one that suits the image",
  };
  const sliders = [
    {
      name: "bandwidth", label: "Bandwidth", initial: bandwidth,
      min: bandwidth / 20, max: Math.min(3 * bandwidth, limits.bandwidth.max), step: bandwidth / 50,
      hint: "How near vectors must lie to be one object",
    },
    {
      name: "foreground_threshold", label: "Foreground threshold",
      initial: model.foreground_threshold, min: 0.02, max: 0.98, step: 0.02,
      hint: "How sure the network must be that a pixel belongs to an object",
    },
    {
      name: "min_area", label: "Smallest instance", unit: " px",
      initial: decoder.min_pixels ?? 0, min: 0, max: 1000, step: 1, hint: "Smaller ones are left out",
    },
    {
      name: "min_score", label: "Lowest score", initial: model.min_score,
      min: 0, max: 1, step: 0.01,
      hint: "Less certain ones are left out",
    },
  ];
  return [scale, ...(byDistance ? sliders : sliders.slice(1))]; // other decoders know no bandwidth
}

const shortly = (value) => String(Number(value.toPrecision(3)));

/** Fill the slider panel; `changed(name, value)` is told of every move, undefined for a default. */
export function drawSliders(into, sliders, changed) {
  into.replaceChildren(
    ...sliders.map((slider) => {
      const shown = element("output", { for: slider.name }, shortly(slider.initial) + (slider.unit ?? ""));
      const input = element("input", {
        id: slider.name, type: "range", min: slider.min, max: slider.max, step: "any",
        value: slider.initial, title: slider.hint,
        oninput: () => {
          const near = Math.round(input.valueAsNumber / slider.step) * slider.step;
          const value = Math.abs(near - slider.initial) < slider.step / 2 ? slider.initial : near;
          const rounded = Number(Math.min(slider.max, Math.max(slider.min, value)).toPrecision(6));
          shown.value = shortly(rounded) + (slider.unit ?? "");
          changed(slider.name, rounded === slider.initial ? undefined : rounded);
        },
        onkeydown: (event) => stepBy(event, input, slider),
      });
      const label = element("span", {}, element("label", { for: slider.name }, slider.label));
      if (slider.auto) label.append(...autoOf(slider, input, changed));
      return element("div", { class: "slider" }, label, shown, input);
    }),
  );
}

/** A box that leaves a setting to the server; without it, what the server found stays. */
function autoOf(slider, input, changed) {
  const id = `${slider.name}-auto`;
  const box = element("input", {
    id, type: "checkbox", title: slider.auto,
    onchange: () => {
      input.disabled = box.checked;
      if (box.checked) changed(slider.name, "auto");
      else input.dispatchEvent(new Event("input"));
    },
  });
  return [box, element("label", { for: id }, "auto")];
}

/** Show on a slider what the server found. */
export function showFound(input, value) {
  input.valueAsNumber = value;
  document.querySelector(`output[for="${input.id}"]`).value = `${shortly(value)} ×`;
}

/** One key press moves a slider by one of its own steps. */
function stepBy(event, input, slider) {
  const turns = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1 }[event.key];
  if (!turns) return;
  event.preventDefault();
  input.valueAsNumber += turns * slider.step;
  input.dispatchEvent(new Event("input"));
}

/** List the instances, best first; long lists are cut and say so. */
export function drawInstances(into, more, answer, { chosen, colourOf, choose, point }) {
  const most = 300;
  into.replaceChildren(
    ...answer.instances.slice(0, most).map((instance) => {
      const swatch = element("i", { class: "swatch" });
      swatch.style.background = `rgb(${colourOf(instance.id).join(" ")})`;
      return element("li", {
        role: "option", id: `instance-${instance.id}`, "aria-selected": String(instance.id === chosen),
        onclick: () => choose(instance.id), onpointerenter: () => point(instance),
        onpointerleave: () => point(null),
      }, swatch, element("b", {}, String(instance.id)), ` ${instance.category.name} `,
      element("span", {}, instance.score.toFixed(2)), element("span", {}, `${instance.area} px`));
    }),
  );
  more.hidden = answer.instances.length <= most;
  more.textContent = `The first ${most} of ${answer.instances.length}; all are in the picture and the downloads.`;
}

/** Bring an item of a list into sight within it; the page stays where it is. */
export function scrollTo(list, item) {
  const least = item.offsetTop + item.offsetHeight - list.clientHeight;
  list.scrollTop = Math.max(least, Math.min(list.scrollTop, item.offsetTop));
}

/** Show where the time went, as bars on one scale. */
export function drawTimings(into, timings, roundTripMs) {
  const whole = Math.max(roundTripMs, timings.total);
  const rows = [
    ...STAGES.map((stage) => [stage, timings[stage] ?? 0]),
    ["network and browser", Math.max(0, roundTripMs - timings.total)],
  ];
  into.replaceChildren(
    ...rows.flatMap(([name, ms]) => {
      const bar = element("i", { class: "bar" });
      bar.style.inlineSize = `${(100 * ms) / whole}%`;
      return [element("dt", {}, name), element("dd", {}, bar, element("span", {}, `${ms.toFixed(1)} ms`))];
    }),
    element("dt", { class: "sum" }, "together"),
    element("dd", { class: "sum" }, element("span", {}, `${roundTripMs.toFixed(1)} ms`)),
  );
}

const quote = (text) => `'${text.replaceAll("'", "'\\''")}'`;

/** A file's name as `curl -F` takes it: a comma or a semicolon would end it. */
const formName = (file) => (/[",;\\]/.test(file) ? `"${file.replaceAll(/["\\]/g, "\\$&")}"` : file);

/** The command line that gives the answer on screen; `timeoutMs` if it takes longer than most. */
export function curlLine(origin, file, settings, { key, timeoutMs }) {
  const query = queryOf({ ...settings, timeout_ms: timeoutMs });
  const header = key ? '-H "Authorization: Bearer $DISCERN_API_KEY" ' : "";
  return `curl ${header}-F ${quote(`image=@${formName(file)}`)} \\\n  ${quote(`${origin}segment${query ? `?${query}` : ""}`)}`;
}

/** The Python lines that give the answer on screen. */
export function pythonLines(origin, file, settings, { key, timeoutMs }) {
  const rest = Object.entries(settings)
    .filter(([, value]) => value !== undefined)
    .map(([key, value]) => `, ${key}=${JSON.stringify(value)}`);
  const shown = (key ? ', api_key=os.environ["DISCERN_API_KEY"]' : "") +
    (timeoutMs ? `, timeout_s=${timeoutMs / 1000}` : "");
  return [
    ...(key ? ["import os", ""] : []),
    "from discern.client import Client",
    "",
    `with Client(${JSON.stringify(origin.replace(/\/$/, ""))}${shown}) as client:`,
    `    found = client.segment(${JSON.stringify(file)}${rest.join("")})`,
    "",
    "print(len(found.instances), found.labels.shape)",
  ].join("\n");
}
