// The keyboard: rows are gone through with j and k, and everything else has a letter.

import { h } from "./dom.js";

const KEYS = [
  ["/", "go to the field that finds"],
  ["j, k", "next row, previous row"],
  ["Enter", "open the row"],
  ["n, p", "next page, previous page"],
  ["f", "follow: show what comes"],
  ["t, g", "topics, groups"],
  ["?", "these keys"],
];

export function keys() {
  const lines = KEYS.flatMap(([key, text]) => [h("dt", null, h("kbd", null, key)), h("dd", null, text)]);
  const close = h("button", { type: "button" }, "Close");
  const dialog = h("dialog", { "aria-label": "Keys" }, h("h2", null, "Keys"), h("dl", null, lines), close);
  close.addEventListener("click", () => dialog.close());
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
}

function step(by) {
  const rows = [...document.querySelectorAll("main tr[tabindex]")];
  const now = rows.indexOf(document.activeElement?.closest("tr[tabindex]"));
  const next = rows[Math.min(rows.length - 1, Math.max(0, now < 0 ? 0 : now + by))];
  next?.focus();
}

function click(name) {
  document.querySelector(`main [data-key="${name}"]:not(:disabled)`)?.click();
}

const DOES = {
  "/": () => document.querySelector("main [data-key=find]")?.focus(),
  j: () => step(1),
  k: () => step(-1),
  n: () => click("n"),
  p: () => click("p"),
  f: () => click("f"),
  t: () => { location.hash = "#/topics"; },
  g: () => { location.hash = "#/groups"; },
  "?": keys,
};

export function press(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
  const target = event.target;
  if (target.closest("input, select, textarea")) {
    if (event.key === "Escape") target.blur();
    return;
  }
  if (event.key === "Enter" && target.matches("tr[tabindex]")) {
    event.preventDefault();
    target.click();
  } else if (Object.hasOwn(DOES, event.key)) {
    event.preventDefault();
    DOES[event.key]();
  }
}
