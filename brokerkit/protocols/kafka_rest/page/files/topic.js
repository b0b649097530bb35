// One topic: its partitions, and its messages from any place on, or as they come.

import { follow, get } from "./asking.js";
import { bytes, count, duration, fill, h, notice, table, visible } from "./dom.js";
import { COLUMNS, row } from "./records.js";

const PAGE = 50;
const KEPT = 500; // rows while it follows
const PLACES = [["last", "last messages"], ["first", "first messages"], ["offset", "from offset"], ["at", "from time"]];

export async function showTopic(body, name, asked, signal) {
  const path = `/v1/topics/${encodeURIComponent(name)}`;
  const topic = await get(path, signal);
  if (signal.aborted) return;
  const parts = h("div");
  const viewer = new Viewer(path, topic, asked, signal);
  fill(body, h("h1", null, visible(name, true)), about(topic), h("h2", null, "Partitions"), parts, h("h2", null, "Messages"), viewer.element);
  showPartitions(parts, topic, viewer);
  await viewer.begin();
}

function about(topic) {
  const { settings } = topic;
  const kept = [];
  if (settings.retention_seconds) kept.push(`for ${duration(settings.retention_seconds)}`);
  if (settings.retention_bytes) kept.push(`${bytes(settings.retention_bytes)} in each partition`);
  if (settings.retention_messages) kept.push(`${count(settings.retention_messages)} messages in each partition`);
  const acknowledged = { commit: "when it is on disk", interval: "before it is on disk", none: "before it is on disk" };
  const words = [
    ["Kept", kept.join(", ") || "for ever"],
    ["Stream", topic.stream || "–"],
    ["Compacted", settings.compact ? "yes: the last of each key" : "no"],
    ["Acknowledged", acknowledged[settings.ack] ?? settings.ack],
    ["Partitioned by", settings.partitioner],
  ];
  return h("dl", null, words.flatMap(([term, text]) => [h("dt", null, term), h("dd", null, visible(String(text), true))]));
}

function showPartitions(place, topic, viewer) {
  const columns = [["Partition", "number"], ["First", "number"], ["Next", "number"], ["Messages", "number"], ["Size", "number"]];
  const parts = topic.spans;
  const rows = parts.slice(0, 256).map((part) =>
    h("tr", { tabindex: "0", onclick: () => viewer.choose(part.partition) },
      h("td", { class: "number" }, String(part.partition)),
      h("td", { class: "number" }, String(part.first)),
      h("td", { class: "number" }, String(part.next)),
      h("td", { class: "number" }, count(part.next - part.first)),
      h("td", { class: "number" }, bytes(part.bytes))));
  fill(place, table(columns, rows));
  if (parts.length > 256) place.append(h("p", { class: "faint" }, `and ${count(parts.length - 256)} more`));
}

class Viewer {
  constructor(path, topic, asked, signal) {
    this.path = path;
    this.signal = signal;
    this.after = null; // the cursor behind what is shown
    this.starts = null; // where what is shown begins, by partition
    this.following = null;
    const parts = topic.spans;
    const every = h("option", { value: "" }, parts.length === 1 ? "partition 0" : "all partitions");
    const options = parts.length === 1 ? [] : parts.map((part) => h("option", { value: part.partition }, `partition ${part.partition}`));
    this.partition = h("select", { "aria-label": "Partition" }, every, options);
    this.place = h("select", { "aria-label": "Where to begin" }, PLACES.map(([value, text]) => h("option", { value }, text)));
    this.value = h("input", { "aria-label": "Offset or time", "data-key": "find", size: "24" });
    this.older = h("button", { type: "button", "data-key": "p", onclick: () => this.goBack() }, "Older");
    this.newer = h("button", { type: "button", "data-key": "n", onclick: () => this.goOn() }, "Newer");
    this.live = h("button", { type: "button", "data-key": "f", "aria-pressed": "false", onclick: () => this.toggle() }, "Follow");
    this.said = h("span", { class: "faint", role: "status" });
    this.rows = h("tbody");
    this.partition.value = asked.get("partition") ?? "";
    this.place.value = asked.get("from") ?? "last";
    this.value.value = asked.get("value") ?? "";
    this.place.addEventListener("change", () => this.fit());
    const form = h("form", { class: "row" }, this.partition, this.place, this.value, h("button", null, "Show"),
      this.older, this.newer, this.live, this.said);
    form.addEventListener("submit", (event) => { event.preventDefault(); this.stop(); this.begin(); });
    const head = COLUMNS.map(([text, kind]) => h("th", { class: kind, scope: "col" }, text));
    this.element = h("div", null, form,
      h("div", { class: "scroll" }, h("table", null, h("thead", null, h("tr", null, head)), this.rows)));
    this.fit();
    signal.addEventListener("abort", () => this.stop());
  }

  fit() {
    const needs = { offset: "offset", at: "2026-01-31 12:00 or ms since 1970" }[this.place.value];
    this.value.hidden = !needs;
    this.value.placeholder = needs ?? "";
  }

  choose(partition) {
    this.partition.value = String(partition);
    if (this.partition.selectedIndex < 0) this.partition.selectedIndex = 0;
    this.stop();
    this.begin();
  }

  asking(more) {
    const asked = new URLSearchParams({ max_records: PAGE, ...more });
    if (this.partition.value !== "") asked.set("partitions", this.partition.value);
    return asked;
  }

  begin() {
    const text = this.value.value.trim();
    switch (this.place.value) {
      case "first":
        return this.ask({ offset: "first" });
      case "offset":
        return this.ask({ offset: text || "first" });
      case "at":
        return this.ask({ at: /^\d+$/.test(text) ? text : moment(text) });
      default:
        return this.ask({ last: PAGE });
    }
  }

  goOn() {
    this.stop();
    return this.after === null ? this.begin() : this.ask({ cursor: this.after });
  }

  goBack() {
    this.stop();
    if (this.starts === null) return this.begin();
    const each = Math.max(1, Math.floor(PAGE / this.starts.length));
    const cursor = this.starts.map(({ partition, at, first }) => `${partition}:${Math.max(first, at - each)}`).join(",");
    return this.ask({ cursor });
  }

  async ask(more) {
    try {
      const page = await get(`${this.path}/records?${this.asking(more)}`, this.signal);
      if (!this.signal.aborted) this.show(page);
    } catch (error) {
      if (!this.signal.aborted) this.fail(error);
    }
  }

  fail(error) {
    if (error.status === 401) throw error;
    fill(this.said, h("span", { class: "bad" }, error.message));
  }

  show(page) {
    let records = page.records.toSorted((one, other) => one.sequence - other.sequence);
    this.after = page.cursor;
    const shown = new Map();
    for (const record of records) {
      if (!shown.has(record.partition)) shown.set(record.partition, record.offset);
    }
    this.starts = page.partitions.map((part) =>
      ({ partition: part.partition, first: part.first, at: shown.get(part.partition) ?? part.position }));
    fill(this.rows, records.map(row));
    const left = page.partitions.reduce((sum, part) => sum + Math.max(0, part.next - part.position), 0);
    this.newer.disabled = false;
    this.older.disabled = this.starts.every(({ at, first }) => at <= first);
    fill(this.said, records.length ? `${count(records.length)} shown, ${count(left)} behind them` : "nothing there");
  }

  // -- following ---------------------------------------------------------------------------------------------------

  toggle() {
    if (this.following) this.stop();
    else this.follow();
  }

  stop() {
    this.following?.abort();
    this.following = null;
    this.live.setAttribute("aria-pressed", "false");
  }

  async follow() {
    this.following = new AbortController();
    const { signal } = this.following;
    this.live.setAttribute("aria-pressed", "true");
    const asked = this.asking({ offset: "latest" });
    asked.delete("max_records");
    const state = (word) => fill(this.said, word === "live" ? "following: new messages come first" : "connecting again…");
    this.waiting = [];
    this.painted = false;
    fill(this.rows);
    try {
      await follow(`${this.path}/follow?${asked}`, (event) => this.hear(event), state, signal);
    } catch (error) {
      this.stop();
      this.fail(error);
    }
  }

  hear(event) {
    let record;
    try {
      record = JSON.parse(event.data);
    } catch {
      return;
    }
    if (record === null || typeof record !== "object" || record.offset === undefined) return;
    this.waiting.push(record);
    if (this.waiting.length > KEPT) this.waiting.splice(0, this.waiting.length - KEPT);
    if (!this.painted) {
      this.painted = true;
      setTimeout(() => this.paint(), 100); // not for each message: there may be thousands in a second
    }
  }

  paint() {
    this.painted = false;
    if (!this.following) return;
    this.rows.prepend(...this.waiting.splice(0).reverse().map(row));
    while (this.rows.childElementCount > KEPT) this.rows.lastElementChild.remove();
  }
}

function moment(text) {
  const date = new Date(text);
  if (Number.isNaN(date.getTime())) {
    notice("A time is written as 2026-01-31 12:00, or in ms since 1970.");
    return "0";
  }
  return String(date.getTime());
}
