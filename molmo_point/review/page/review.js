// The page of a review: rows at the left, the image with its points at the right. Every change is saved at once.

import { Points } from "./points.js";
import { Rows } from "./rows.js";
import { Saver } from "./saving.js";

const $ = (id) => document.getElementById(id);
const rows = new Rows($("rows"), $("filter"), (number) => open(number));
const points = new Points($("points"), $("sheet"), () => save(false));
let saver = null;
let current = null;
let zoom = 1;

async function json(address) {
  const reply = await fetch(address, { signal: AbortSignal.timeout(30000) });
  const body = await reply.json();
  if (!reply.ok) throw new Error(body.error || body.detail);
  return body;
}

async function open(number) {
  rows.mark(number);
  // Until the row is here, keys and clicks must not change the one before.
  current = null;
  points.fill([]);
  $("sheet").hidden = true;
  const { id } = rows.rows[number];
  const row = await json(`api/rows/${id}`);
  if (rows.current !== number) return;
  const kept = saver.pending(id);
  current = { id, row, broken: false, accepted: kept ? kept.accepted : row.accepted };
  points.fill(kept ? kept.points : row.points);
  zoom = 1;
  $("problem").hidden = true;
  $("sheet").hidden = false;
  $("image").src = `api/rows/${id}/image`;
  describe();
  $("stage").focus({ preventScroll: true });
}

function describe() {
  const { row } = current;
  $("query").textContent = row.query;
  const model = row.count === null ? "NA" : row.count;
  const range = row.low === null ? "" : ` (${row.low} to ${row.high})`;
  $("count").textContent = `${points.points.length} points · model ${model}${range}`;
  $("note").textContent = row.error || (row.status === "found" || row.status === "not_found" ? "" : row.status);
}

function save(accepted) {
  if (!current) return;
  current.accepted = accepted;
  describe();
  saver.save(current.id, points.points, accepted);
}

function step(by) {
  const number = rows.neighbour(by);
  if (number !== null) open(number);
}

function accept() {
  if (!current) return;
  // What cannot be seen cannot be accepted.
  if (!current.broken) save(true);
  step(1);
}

async function agree() {
  const found = await json("api/agreement");
  const parts = [`${found.accepted} of ${found.rows} accepted`];
  if (found.compared) {
    parts.push(`${Math.round(100 * found.exact / found.compared)} % of counts exact`);
    parts.push(`mean error ${found.mean_error.toFixed(2)}, absolute ${found.mean_absolute_error.toFixed(2)}`);
    parts.push(`${found.added} added, ${found.deleted} deleted, ${found.moved} moved`);
  }
  if (found.with_interval) parts.push(`${Math.round(100 * found.inside / found.with_interval)} % in their interval`);
  $("agreement").textContent = parts.join(" · ");
}

function fit() {
  const { naturalWidth: width, naturalHeight: height } = $("image");
  if (!width) return;
  const room = $("stage").getBoundingClientRect();
  const scale = Math.min((room.width - 4) / width, (room.height - 4) / height) * zoom;
  $("sheet").style.width = `${width * scale}px`;
  $("sheet").style.height = `${height * scale}px`;
  points.draw();
}

function enlarge(factor) {
  zoom = Math.min(16, Math.max(1, zoom * factor));
  fit();
}

$("image").addEventListener("load", fit);
$("image").addEventListener("error", () => {
  if (current) current.broken = true;
  $("sheet").hidden = true;
  $("problem").hidden = false;
  $("problem").textContent = "The image cannot be shown: it is not there any more, or is damaged. Its points stay as they are.";
});
addEventListener("resize", fit);
addEventListener("beforeunload", (event) => { if (saver && saver.waiting.size) event.preventDefault(); });

const ACTIONS = {
  accept, next: () => step(1), previous: () => step(-1), add: () => points.add(), delete: () => points.remove(), undo: () => points.undo(),
  reset: () => current && points.replace(current.row.model.map(({ x, y }, origin) => ({ x, y, origin }))),
  larger: () => enlarge(1.5), smaller: () => enlarge(1 / 1.5),
};
const KEYS = {
  Enter: "accept", j: "next", n: "next", k: "previous", p: "previous", a: "add", Delete: "delete", Backspace: "delete", x: "delete", u: "undo", r: "reset",
  "+": "larger", "=": "larger", "-": "smaller",
};
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

for (const [name, act] of Object.entries(ACTIONS)) $(name).addEventListener("click", act);
addEventListener("keydown", (event) => {
  if (event.target.closest("select, a, button") && ["Enter", " ", "ArrowUp", "ArrowDown"].includes(event.key)) return;
  if (!current && !["j", "k", "n", "p"].includes(event.key)) return;
  const undo = (event.ctrlKey || event.metaKey) && event.key === "z";
  if (!undo && (event.ctrlKey || event.metaKey || event.altKey)) return;
  if (undo) points.undo();
  else if (ARROWS[event.key]) points.move(...ARROWS[event.key], event.shiftKey);
  else if (event.key === "[") points.choose(-1);
  else if (event.key === "]") points.choose(1);
  else if (KEYS[event.key]) ACTIONS[KEYS[event.key]]();
  else return;
  event.preventDefault();
});

const found = await json("api/rows");
$("folder").textContent = found.folder;
document.title = `${found.folder}: review of counts`;
rows.fill(found.rows);
saver = new Saver(found.folder, (state, words) => {
  $("saved").className = state === "saved" ? "" : state;
  $("saved").textContent = words;
}, (line) => {
  rows.update(line);
  agree();
});
await agree();
if (found.rows.length) {
  const first = found.rows.findIndex((row) => !row.accepted);
  await open(first < 0 ? 0 : first);
}
