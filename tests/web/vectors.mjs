// The page's scripts against the vectors that the Python decoders are tested with.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

const read = (path) => JSON.parse(readFileSync(new URL(path, import.meta.url), "utf8"));
const script = (name) => import(new URL(`../../service/web/${name}`, import.meta.url));
const { paint, parseCounts } = await script("rle.js");
const { colourOf } = await script("scene.js");
const { queryOf } = await script("server.js");
const { curlLine, pythonLines } = await script("panels.js");
const vectors = read("../vectors/rle.json");

const rowsOf = (labels, width, height) =>
  Array.from({ length: height }, (_, y) => labels.subarray(y * width, (y + 1) * width).join(""));

for (const vector of vectors.valid) {
  const [height, width] = vector.size;

  test(`${vector.name}: reads the runs`, () => {
    assert.deepEqual(parseCounts(vector.counts), vector.runs);
  });

  test(`${vector.name}: paints the mask, from either flavour`, () => {
    for (const counts of [vector.counts, vector.runs]) {
      const labels = new Int32Array(width * height);
      paint({ size: vector.size, counts }, labels, 1);
      assert.deepEqual(rowsOf(labels, width, height), vector.rows);
    }
  });

  test(`${vector.name}: a third of the size keeps every third pixel`, () => {
    const columns = Math.ceil(width / 3);
    const rows = Math.ceil(height / 3);
    const labels = new Int32Array(columns * rows);
    paint(vector, labels, 1, 3);
    const expected = vector.rows.filter((_, y) => y % 3 === 0)
      .map((row) => [...row].filter((_, x) => x % 3 === 0).join(""));
    assert.deepEqual(rowsOf(labels, columns, rows), expected);
  });

  test(`${vector.name}: a cut holds what the whole has there`, () => {
    for (const step of [1, 2]) {
      const whole = new Int32Array(Math.ceil(width / step) * Math.ceil(height / step));
      paint(vector, whole, 1, step);
      const columns = Math.ceil(width / step) - 1; // without the first column and row
      const rows = Math.ceil(height / step) - 1;
      if (columns < 1 || rows < 1) continue;
      const cut = new Int32Array(columns * rows);
      paint(vector, cut, 1, step, { left: step, top: step, columns, rows });
      const expected = rowsOf(whole, columns + 1, rows + 1).slice(1).map((row) => row.slice(1));
      assert.deepEqual(rowsOf(cut, columns, rows), expected);
    }
  });
}

for (const vector of vectors.invalid) {
  test(`${vector.name}: is refused`, () => {
    const labels = new Int32Array(vector.size[0] * vector.size[1]);
    assert.throws(() => paint(vector, labels, 1), RangeError);
    assert.ok(labels.every((value) => value === 0));
  });
}

test("instances have the colours of the server's own pictures", () => {
  const expected = read("../vectors/colours.json");
  const off = expected.flatMap((colour, n) =>
    colour.map((value, channel) => Math.abs(value - colourOf(n + 1)[channel])));
  assert.ok(Math.max(...off) <= 1);
});

test("settings left as they are do not appear in the query", () => {
  assert.equal(queryOf({ model: "nuclei", bandwidth: undefined, min_area: 0 }), "model=nuclei&min_area=0");
});

test("a quote or a comma in a file's name survives the shell, curl and Python", () => {
  assert.match(curlLine("http://x/", "o'clock.png", {}, {}), /'image=@o'\\''clock.png'/);
  assert.match(curlLine("http://x/", 'day 3, "wt"; a.png', {}, {}), /'image=@"day 3, \\"wt\\"; a.png"'/);
  assert.match(pythonLines("http://x/", 'a"b.png', { min_score: 0.5 }, {}), /segment\("a\\"b.png", min_score=0.5\)/);
});

test("what takes long is repeated with the time that it needs", () => {
  assert.match(curlLine("http://x/", "a.png", {}, { timeoutMs: 300000 }), /segment\?timeout_ms=300000'$/);
  assert.match(pythonLines("http://x/", "a.png", {}, { timeoutMs: 300000 }), /Client\("http:\/\/x", timeout_s=300\)/);
});
