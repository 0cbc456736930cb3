// The API reference, drawn from /openapi.json as the server publishes it.

import { element } from "./panels.js";

const $ = (id) => document.getElementById(id);
const METHODS = ["get", "post", "put", "patch", "delete"];

/** Name of a schema as a reader would say it; a reference becomes a link. */
function typeOf(schema) {
  if (!schema) return ["any"];
  if (schema.$ref) {
    const name = schema.$ref.split("/").pop();
    return [element("a", { href: `#schema-${name}` }, name)];
  }
  const either = schema.anyOf ?? schema.oneOf ?? schema.allOf;
  if (either) {
    const shown = either.filter((part) => part.type !== "null");
    return shown.flatMap((part, n) => (n ? [" or ", ...typeOf(part)] : typeOf(part)));
  }
  if (schema.const !== undefined) return [String(schema.const)];
  if (schema.enum) return [schema.enum.join(" | ")];
  if (schema.type === "array") {
    const parts = schema.prefixItems?.flatMap((part, n) => (n ? [", ", ...typeOf(part)] : typeOf(part)));
    return ["[", ...(parts ?? [...typeOf(schema.items), " …"]), "]"];
  }
  return [schema.format ? `${schema.type} (${schema.format})` : (schema.type ?? "any")];
}

/** Bounds, pattern and default in one line. */
function boundsOf(schema) {
  const parts = [schema, ...(schema.anyOf ?? [])];
  const found = (name) => parts.map((part) => part[name]).find((value) => value !== undefined);
  const said = {
    minimum: "≥", exclusiveMinimum: ">", maximum: "≤", exclusiveMaximum: "<", pattern: "like",
  };
  const words = Object.entries(said)
    .filter(([name]) => found(name) !== undefined)
    .map(([name, sign]) => `${sign} ${found(name)}`);
  if (schema.default !== undefined && schema.default !== null) words.push(`default ${schema.default}`);
  return words.join(", ");
}

/** Prose with `code` in it. */
const prose = (text) =>
  (text ?? "").split("`").map((part, n) => (n % 2 ? element("code", {}, part) : part));

function table(head, rows) {
  return element("div", { class: "scroll" }, element("table", {},
    element("thead", {}, element("tr", {}, ...head.map((name) => element("th", { scope: "col" }, name)))),
    element("tbody", {}, ...rows.map((cells) =>
      element("tr", {}, ...cells.map((cell) => element("td", {}, ...[cell].flat())))))));
}

const parametersOf = (operation, api) => (operation.parameters ?? []).map((given) => {
  const schema = given.schema.$ref ? api.components.schemas[given.schema.$ref.split("/").pop()] : given.schema;
  return [element("code", {}, given.name), typeOf(schema), boundsOf(schema), prose(given.description)];
});

function responsesOf(operation) {
  return Object.entries(operation.responses ?? {}).map(([status, response]) => [
    element("code", {}, status),
    Object.entries(response.content ?? {}).flatMap(([type, body], n) =>
      [n ? ", " : "", `${type} `, ...typeOf(body.schema)]),
    prose(response.description),
  ]);
}

function curlOf(method, path, operation) {
  const url = new URL(`.${path}`, new URL(".", location.href)).href;
  const types = Object.keys(operation.requestBody?.content ?? {});
  const body = types.includes("multipart/form-data") ? " -F image=@cells.png" : "";
  const verb = method === "get" || body ? "" : ` -X ${method.toUpperCase()}`;
  return `curl${verb}${body} '${decodeURI(url)}'`;
}

function operationOf(api, path, method, operation) {
  const id = `${method}-${path.replaceAll(/[^a-z0-9]+/gi, "-")}`;
  const parameters = parametersOf(operation, api);
  const types = Object.keys(operation.requestBody?.content ?? {});
  const parts = [
    element("h2", { id }, element("span", { class: `verb ${method}` }, method.toUpperCase()), " ",
      element("code", {}, path)),
    ...(operation.description ?? operation.summary ?? "").split("\n\n").map((text) =>
      element("p", {}, ...prose(text))),
    element("pre", {}, curlOf(method, path, operation)),
  ];
  if (types.length) parts.push(element("p", { class: "quiet" }, `Body: ${types.join(", ")}`));
  if (parameters.length) parts.push(table(["Parameter", "Type", "Bounds", "Meaning"], parameters));
  parts.push(table(["Status", "Body", "Meaning"], responsesOf(operation)));
  return { id, title: `${method.toUpperCase()} ${path}`, node: element("section", { class: "operation" }, ...parts) };
}

function schemaOf(name, schema) {
  const required = new Set(schema.required ?? []);
  const rows = Object.entries(schema.properties ?? {}).map(([key, value]) => [
    [element("code", {}, key), required.has(key) ? "" : " (optional)"], typeOf(value), boundsOf(value),
    prose(value.description),
  ]);
  return element("section", { class: "operation" },
    element("h3", { id: `schema-${name}` }, name), element("p", {}, ...prose(schema.description)),
    rows.length ? table(["Member", "Type", "Bounds", "Meaning"], rows) : element("p", {}, ...typeOf(schema)));
}

function draw(api) {
  $("title").textContent = api.info.title;
  $("tagline").textContent = `${api.info.summary} Version ${api.info.version}.`;
  const operations = Object.entries(api.paths).flatMap(([path, methods]) =>
    METHODS.filter((method) => methods[method]).map((method) =>
      operationOf(api, path, method, methods[method])));
  $("contents").replaceChildren(
    element("ul", {}, ...operations.map(({ id, title }) =>
      element("li", {}, element("a", { href: `#${id}` }, title))),
      element("li", {}, element("a", { href: "#schemas" }, "Schemas"))));
  $("operations").replaceChildren(
    ...operations.map(({ node }) => node), element("h2", { id: "schemas" }, "Schemas"),
    ...Object.entries(api.components?.schemas ?? {}).map(([name, schema]) => schemaOf(name, schema)));
  document.getElementById(location.hash.slice(1))?.scrollIntoView();
}

try {
  const response = await fetch("openapi.json");
  if (!response.ok) throw new Error(`the server answers ${response.status}`);
  draw(await response.json());
} catch (error) {
  $("operations").textContent = `openapi.json cannot be read: ${error.message}. Reload the page to try again.`;
}
