// Consumer groups: who reads what, and how far behind.

import { get } from "./asking.js";
import { count, fill, h, moment, table, visible } from "./dom.js";

const PAGE = 50;
const AT_ONCE = 5; // questions

export async function showGroups(body, signal) {
  const { groups } = await get("/v1/groups", signal);
  if (signal.aborted) return;
  let start = 0;
  const place = h("div");
  const said = h("span", { class: "faint", role: "status" });
  const previous = h("button", { type: "button", "data-key": "p", onclick: () => turn(-PAGE) }, "Previous");
  const next = h("button", { type: "button", "data-key": "n", onclick: () => turn(PAGE) }, "Next");

  function turn(by) {
    start = Math.min(Math.max(0, start + by), Math.max(0, groups.length - 1));
    show();
  }

  function show() {
    const page = groups.slice(start, start + PAGE);
    previous.disabled = start === 0;
    next.disabled = start + PAGE >= groups.length;
    fill(said, `${count(page.length)} shown of ${count(groups.length)}`);
    const columns = [["Group"], ["State"], ["Members", "number"], ["Lag", "number"]];
    const rows = page.map((name) => {
      const address = `#/groups/${encodeURIComponent(name)}`;
      return h("tr", { tabindex: "0", onclick: () => { location.hash = address; } },
        h("td", { class: "name" }, h("a", { href: address, tabindex: "-1" }, visible(name, true))),
        h("td", null, "…"), h("td", { class: "number" }, "…"), h("td", { class: "number" }, "…"));
    });
    fill(place, table(columns, rows));
    look(page, rows, signal);
  }

  fill(body, h("h1", null, "Groups"));
  if (groups.length) {
    body.append(h("div", { class: "row" }, previous, next, said), place);
    show();
  } else {
    body.append(h("p", { class: "faint" }, "No group reads here, or none that you may see."));
  }
}

// The list has names alone; what is behind them is asked for a few at a time.
async function look(names, rows, signal) {
  const left = names.map((name, i) => [name, rows[i]]);
  async function work() {
    for (let one = left.shift(); one !== undefined && !signal.aborted; one = left.shift()) {
      const [name, row] = one;
      try {
        const group = await get(`/v1/groups/${encodeURIComponent(name)}`, signal);
        const cells = [group.state, count(group.members.length), count(group.lag)];
        cells.forEach((text, i) => { row.children[i + 1].textContent = text; });
      } catch {
        [1, 2, 3].forEach((i) => { row.children[i].textContent = "–"; });
      }
    }
  }
  await Promise.all(Array.from({ length: AT_ONCE }, work));
}

export async function showGroup(body, name, signal) {
  const again = h("button", { type: "button", "data-key": "f" }, "Look again");
  const place = h("div");
  again.addEventListener("click", () => load());

  async function load() {
    const group = await get(`/v1/groups/${encodeURIComponent(name)}`, signal);
    if (signal.aborted) return;
    fill(place,
      h("dl", null,
        h("dt", null, "State"), h("dd", null, group.state),
        h("dt", null, "Generation"), h("dd", null, count(group.generation)),
        h("dt", null, "Lag"), h("dd", null, count(group.lag))),
      h("h2", null, "Partitions"), partitions(group),
      h("h2", null, "Members"), members(group));
  }

  fill(body, h("h1", null, visible(name, true)), h("div", { class: "row" }, again), place);
  await load();
}

function partitions(group) {
  const columns = [["Topic"], ["Partition", "number"], ["Committed", "number"], ["First", "number"], ["Next", "number"], ["Lag", "number"], ["Read by"], ["Committed at"]];
  const rows = (group.offsets ?? []).map((part) => h("tr", null,
    h("td", { class: "name" }, h("a", { href: `#/topics/${encodeURIComponent(part.topic)}` }, visible(part.topic, true))),
    h("td", { class: "number" }, String(part.partition)),
    h("td", { class: "number" }, part.offset === null || part.offset === undefined ? "–" : String(part.offset)),
    h("td", { class: "number" }, String(part.first)),
    h("td", { class: "number" }, String(part.next)),
    h("td", { class: "number" }, count(part.lag)),
    h("td", null, visible(part.member || "–", true)),
    h("td", null, part.committed ? moment(part.committed) : "–")));
  return rows.length ? table(columns, rows) : h("p", { class: "faint" }, "It has read nothing yet.");
}

function members(group) {
  const columns = [["Member"], ["Client"], ["From"], ["Partitions", "number"], ["Lease until"]];
  const rows = (group.members ?? []).map((member) => h("tr", null,
    h("td", { class: "name" }, visible(member.member, true)),
    h("td", null, visible(member.client_id || "–", true)),
    h("td", null, visible(member.client_host || "–", true)),
    h("td", { class: "number" }, count(member.assigned?.length)),
    h("td", null, moment(member.expires))));
  return rows.length ? table(columns, rows) : h("p", { class: "faint" }, "Nobody reads now.");
}
