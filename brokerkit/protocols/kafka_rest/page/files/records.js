// Messages as rows that open.  A value is shown as text, JSON set out, or bytes in hexadecimal; never as HTML.

import { bytes, count, h, moment, visible } from "./dom.js";

const SHORT = 240; // letters of a value in its row
const WHOLE = 200_000; // letters of a value that is opened

export const COLUMNS = [["Partition", "number"], ["Offset", "number"], ["Time"], ["Key"], ["Value"], ["Size", "number"], ["Sender"]];

function raw(record, name) {
  if (record[name] === null || record[name] === undefined) return null;
  if (record[`${name}_encoding`] !== "base64") return null;
  return Uint8Array.from(atob(record[name]), (letter) => letter.charCodeAt(0));
}

function hex(data, most) {
  return Array.from(data.subarray(0, most), (byte) => byte.toString(16).padStart(2, "0")).join(" ");
}

function dump(data) {
  const lines = [];
  const shown = data.subarray(0, 65_536);
  for (let at = 0; at < shown.length; at += 16) {
    const piece = shown.subarray(at, at + 16);
    const letters = Array.from(piece, (byte) => (byte >= 32 && byte < 127 ? String.fromCharCode(byte) : ".")).join("");
    lines.push(`${at.toString(16).padStart(6, "0")}  ${hex(piece, 16).padEnd(48)} ${letters}`);
  }
  if (shown.length < data.length) lines.push(`… ${bytes(data.length)} in all`);
  return lines.join("\n");
}

function size(record) {
  const value = record.value;
  if (value === null || value === undefined) return 0;
  const data = raw(record, "value");
  return data ? data.length : new TextEncoder().encode(value).length;
}

function short(record, name) {
  if (record.missing && name === "value") return h("span", { class: "missing" }, `${count(record.missing)} not kept`);
  const value = record[name];
  if (value === null || value === undefined) return h("span", { class: "faint" }, name === "value" ? "null" : "");
  const data = raw(record, name);
  const text = data ? hex(data, 80) : visible(String(value).slice(0, SHORT + 1), true);
  return text.length > SHORT ? `${text.slice(0, SHORT)}…` : text;
}

function whole(record, name) {
  const value = record[name];
  if (value === null || value === undefined) return "null";
  const data = raw(record, name);
  if (data) return dump(data);
  let text = String(value);
  if (/^\s*[[{]/.test(text) && text.length <= WHOLE) {
    try {
      JSON.parse(text);
      text = setOut(text);
    } catch {
      // it only looks like JSON
    }
  }
  return visible(text.length > WHOLE ? `${text.slice(0, WHOLE)}…` : text);
}

// JSON with a line for each member, letter by letter: to parse it and write it again would change numbers.
function setOut(text) {
  const made = [];
  let depth = 0;
  let empty = false; // whether a bracket has just been opened
  const line = () => `\n${"  ".repeat(Math.min(Math.max(depth, 0), 100))}`;
  for (const [piece] of text.matchAll(/"(?:[^"\\]|\\.)*"|[{}[\],:]|[^\s"{}[\],:]+/gs)) {
    if (piece === "}" || piece === "]") {
      depth -= 1;
      made.push(empty ? "" : line(), piece);
      empty = false;
      continue;
    }
    if (empty) made.push(line());
    empty = piece === "{" || piece === "[";
    if (empty) depth += 1;
    made.push(piece);
    if (piece === ",") made.push(line());
    else if (piece === ":") made.push(" ");
  }
  return made.join("");
}

function details(record) {
  const headers = (record.headers ?? []).flatMap((header) => [
    h("dt", { class: "raw" }, header.name_encoding === "base64" ? hex(raw(header, "name"), 256) : visible(header.name, true)),
    h("dd", { class: "raw" }, header.value_encoding === "base64" ? hex(raw(header, "value"), 4096) : whole(header, "value")),
  ]);
  return [
    h("dl", null,
      h("dt", null, "Key"), h("dd", { class: "raw" }, record.key === undefined ? "null" : whole(record, "key")),
      h("dt", null, "Sender"), h("dd", { class: "raw" }, visible(String(record.sender ?? "–"), true)),
      h("dt", null, "Time"), h("dd", null, `${moment(record.timestamp)} (${record.timestamp_type ?? "create"})`),
      h("dt", null, "Sequence"), h("dd", null, count(record.sequence)),
      headers.length ? [h("dt", null, "Headers"), h("dd", null, h("dl", null, headers))] : null),
    h("pre", { class: "raw whole" }, whole(record, "value")),
  ];
}

export function row(record) {
  const cells = [
    h("td", { class: "number" }, String(record.partition)),
    h("td", { class: "number" }, String(record.offset)),
    h("td", null, moment(record.timestamp)),
    h("td", { class: "raw" }, short(record, "key")),
    h("td", { class: "raw value" }, short(record, "value")),
    h("td", { class: "number" }, bytes(size(record))),
    h("td", { class: "raw" }, visible(String(record.sender ?? ""), true)),
  ];
  const shown = h("tr", { tabindex: "0", "aria-expanded": "false" }, cells);
  let opened = null;
  shown.addEventListener("click", () => {
    if (getSelection().toString()) return;
    if (opened) {
      opened.remove();
      opened = null;
    } else {
      opened = h("tr", null, h("td", { colspan: String(COLUMNS.length) }, details(record)));
      shown.after(opened);
    }
    shown.setAttribute("aria-expanded", String(opened !== null));
  });
  return shown;
}
