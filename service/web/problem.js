// What went wrong, in the server's words, and what of the page stays beside it.

import { $, state } from "./state.js";

export const RESULTS = ["found", "time", "save", "code"]; // panels of an answer

export function complain(error) {
  const details = error.details ?? { title: "The page failed", detail: error.message };
  $("problem-title").textContent = details.title;
  $("problem-detail").textContent =
    details.detail + (details.retry_after ? ` Worth trying again in ${details.retry_after} s.` : "");
  $("problem-id").textContent = details.request_id ? `Request ${details.request_id}` : "";
  $("key-form").hidden = details.status !== 401;
  $("retry").hidden = !(details.status === 0 || details.status >= 500 || details.status === 429);
  $("problem").hidden = false;
  if (details.status === 401) $("key").select();
  if (state.image && !state.answer) {
    $("shown").hidden = true;
    $("drop").hidden = false;
    for (const id of [...RESULTS, "space"]) $(id).hidden = true; // they are of the image before
  }
}

export const forget = () => ($("problem").hidden = true);
