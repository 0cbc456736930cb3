// What the page knows: the image that is open, its answer, and what was set.

export const $ = (id) => document.getElementById(id);

export const state = {
  image: null, // {file, embedding, pictures by view}
  answer: null,
  settings: {}, // what differs from what the model says
  view: "instances",
  models: [], limits: null, language: "curl",
  running: null, // AbortController of the call under way
  wanted: false, // settings moved on while a call was under way
};

/** What is asked, with all the time there is: who waits sees it, and may open another image. */
export const query = (more = {}) => ({
  model: $("model").value, timeout_ms: state.limits?.timeout_ms.max, ...state.settings, ...more,
});

export const instanceOf = (id) => state.answer?.instances.find((instance) => instance.id === id);
