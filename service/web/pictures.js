// Pictures of the open image: itself, and what the network saw of it.

import { complain } from "./problem.js";
import * as server from "./server.js";
import { query, state } from "./state.js";

export const VIEWS = [
  { name: "input", label: "Input", format: "input_png" },
  { name: "foreground", label: "Foreground", format: "foreground_png" },
  { name: "embedding", label: "Embedding", format: "embedding_png" },
  { name: "instances", label: "Instances" },
];

/** The image itself, decoded here if this browser can, else by the server. */
export async function inputOf(image) {
  const { page, channel } = state.settings;
  if (page !== undefined || channel !== undefined) return picture(image, "input_png");
  try {
    return await createImageBitmap(image.file);
  } catch {
    return picture(image, "input_png");
  }
}

async function picture(image, format) {
  const { response } = await server.segment(image, query({ format }));
  return createImageBitmap(await response.blob());
}

/**
 * Fetch what the network saw, once per image, model and scale; only while the server still holds it.
 * @returns {Promise<boolean>}  Whether all came that there is, and the image is still open.
 */
export async function lookInside() {
  const { image } = state;
  for (const { name, format } of VIEWS) {
    if (!format || image.pictures[name] || !image.embedding) continue;
    try {
      image.pictures[name] = await picture(image, format);
    } catch (error) {
      complain(error);
      return false;
    }
    if (state.image !== image) return false;
  }
  return true;
}
