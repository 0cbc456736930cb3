// Results to keep: a button for every form that the server writes one in.

import { element } from "./panels.js";
import { complain } from "./problem.js";
import * as server from "./server.js";
import { $, query, state } from "./state.js";

const SAVES = {
  rle: "json", rle_uncompressed: "json", polygons: "json", coco: "json",
  label_png: "png", overlay_png: "png", embedding_png: "png", imagej_zip: "zip",
};

async function save(format) {
  try {
    const { response } = await server.segment(state.image, query({ format }));
    const stem = state.image.file.name.replace(/\.[^.]+$/, "");
    const link = element("a", {
      href: URL.createObjectURL(await response.blob()), download: `${stem}.${format}.${SAVES[format]}`,
    });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
  } catch (error) {
    complain(error);
  }
}

export function drawDownloads({ formats }) {
  $("downloads").replaceChildren(
    ...Object.keys(SAVES).filter((format) => formats.includes(format)).map((format) =>
      element("button", { type: "button", id: `save-${format}`, onclick: () => save(format) }, format)),
  );
}
