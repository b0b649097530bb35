// All topics, a page at a time: there may be ten thousand.

import { get } from "./asking.js";
import { bytes, count, fill, h, table, visible } from "./dom.js";

const PAGE = 100;

export async function showTopics(body, asked, signal) {
  const find = h("input", { type: "search", "data-key": "find", "aria-label": "Find topics", placeholder: "begins with…" });
  const place = h("div");
  const before = [];
  let after = asked.get("after") ?? "";
  let following = null;
  find.value = asked.get("prefix") ?? "";

  const previous = h("button", { type: "button", "data-key": "p" }, "Previous");
  const next = h("button", { type: "button", "data-key": "n" }, "Next");
  const said = h("span", { class: "faint", role: "status" });

  async function load() {
    const query = new URLSearchParams({ limit: PAGE });
    if (after) query.set("after", after);
    if (find.value) query.set("prefix", find.value);
    const page = await get(`/v1/topics?${query}`, signal);
    if (signal.aborted) return;
    following = page.next ?? null;
    previous.disabled = before.length === 0;
    next.disabled = following === null;
    fill(said, `${count(page.topics.length)} shown${page.total === undefined ? "" : ` of ${count(page.total)}`}`);
    fill(place, page.topics.length ? list(page.topics) : h("p", { class: "faint" }, find.value ? "No topic begins so." : "No topic is kept yet, or none that you may see."));
  }

  next.addEventListener("click", () => {
    if (following === null) return;
    before.push(after);
    after = following;
    load();
  });
  previous.addEventListener("click", () => {
    if (!before.length) return;
    after = before.pop();
    load();
  });
  let alarm = 0;
  find.addEventListener("input", () => {
    clearTimeout(alarm);
    alarm = setTimeout(() => {
      before.length = 0;
      after = "";
      load();
    }, 150);
  });

  fill(body, h("h1", null, "Topics"), h("div", { class: "row" }, find, previous, next, said), place);
  await load();
}

function list(topics) {
  const columns = [["Topic"], ["Partitions", "number"], ["Messages", "number"], ["Size", "number"], ["Stream"]];
  return table(columns, topics.map((topic) => {
    const address = `#/topics/${encodeURIComponent(topic.topic)}`;
    return h("tr", { tabindex: "0", onclick: () => { location.hash = address; } },
      h("td", { class: "name" }, h("a", { href: address, tabindex: "-1" }, visible(topic.topic, true))),
      h("td", { class: "number" }, count(topic.partitions)),
      h("td", { class: "number" }, count(topic.messages)),
      h("td", { class: "number" }, bytes(topic.bytes)),
      h("td", null, topic.stream || ""));
  }));
}
