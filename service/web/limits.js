// What the server takes, and how much of it.

import { element } from "./panels.js";
import { $ } from "./state.js";

const mega = (value, unit) => `${Number((value / unit).toPrecision(3))}`;

export function drawLimits(limits) {
  const bytes = `${mega(limits.max_body_bytes, 2 ** 20)} MiB`;
  const pixels = `${mega(limits.max_image_pixels, 1e6)} megapixels`;
  const kinds = limits.media_types.filter((type) => type.startsWith("image/")).map((type) => type.slice(6));
  $("limits").textContent = `${kinds.join(", ")} · up to ${bytes} and ${pixels}`;
  const rows = {
    "largest file": bytes, "largest image": pixels, "longest side": `${limits.max_image_side_px} px`,
    "time for an answer": `${limits.timeout_ms.max / 1000} s`, "most instances": limits.max_instances.max,
    "at once": `${limits.in_flight}, ${limits.queue} may wait`,
  };
  $("limit-list").replaceChildren(
    ...Object.entries(rows).flatMap(([name, value]) => [
      element("dt", {}, name), element("dd", {}, String(value)),
    ]),
  );
}
