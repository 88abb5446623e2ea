// Answers as files: a table with one row a point, and the image with its points drawn on it.

import { colour, ellipseOf } from "/page/overlay.js";

const LONGEST = 2048;

// One row a point; an answer without points has one row with empty places. An unknown count is empty, never 0.
export function csv(rounds) {
  const rows = [["image", "query", "status", "count", "stated_count", "point", "x", "y", "x_px", "y_px", "score", "label"]];
  for (const result of rounds.flatMap((round) => round.results())) {
    if (!result.error && !result.status) continue; // an answer in text
    const status = result.error ? "error" : result.status;
    const count = status === "found" || status === "not_found" ? (result.points ?? []).length : "";
    const head = [result.image, result.query, status, count, result.stated_count ?? ""];
    const points = result.points ?? [];
    const [width, height] = result.image_size ?? [0, 0];
    for (const [index, p] of points.entries())
      rows.push([...head, index + 1, p.x, p.y, (p.x * width).toFixed(1), (p.y * height).toFixed(1), p.score ?? "", p.label ?? ""]);
    if (!points.length) rows.push([...head, "", "", "", "", "", "", ""]);
  }
  return rows.map((row) => row.map(cell).join(",")).join("\r\n") + "\r\n";
}

// In quotes where needed. What a spreadsheet would run as a formula is text.
function cell(value) {
  let text = typeof value === "number" ? `${Number(value.toPrecision(6))}` : `${value}`;
  if (typeof value === "string" && /^[=+@\t\r-]/.test(text)) text = `'${text}`;
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

export async function png(round) {
  const { source, width, height } = round.image;
  const scale = Math.min(4, Math.max(1, 640 / Math.max(width, height)), LONGEST / Math.max(width, height));
  const canvas = new OffscreenCanvas(Math.round(width * scale), Math.round(height * scale));
  const context = canvas.getContext("2d");
  context.drawImage(source, 0, 0, canvas.width, canvas.height);
  for (const parts of round.layer.drawn) mark(context, parts, canvas.width, canvas.height, round.layer.drawn.length >= 16);
  return canvas.convertToBlob({ type: "image/png" });
}

function mark(context, { point, number, index, group }, width, height, crowded) {
  const unit = Math.max(1, Math.min(width, height) / 500);
  const [x, y, radius] = [point.x * width, point.y * height, unit * (crowded ? 5 : 8)];
  context.strokeStyle = context.fillStyle = colour(index);
  context.lineWidth = 1.5 * unit;
  if (point.covariance) {
    const { rx, ry, angle } = ellipseOf(point.covariance, width, height);
    context.beginPath();
    context.ellipse(x, y, rx, ry, angle, 0, 2 * Math.PI);
    context.stroke();
  }
  for (const [style, wide] of [["#fff", 6], [colour(index), 3]]) {
    context.strokeStyle = style;
    context.lineWidth = wide * unit;
    context.beginPath();
    context.arc(x, y, radius, 0, 2 * Math.PI);
    context.stroke();
  }
  if (group.classList.contains("crowded")) return;
  context.font = `600 ${Math.round(13 * unit)}px system-ui, sans-serif`;
  context.lineWidth = 3.5 * unit;
  context.strokeStyle = "#fff";
  context.strokeText(`${number}`, x + radius + 3 * unit, y - radius);
  context.fillText(`${number}`, x + radius + 3 * unit, y - radius);
}

export function download(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}
