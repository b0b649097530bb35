// What is shown: the part that the address behind # names.  A part gets a signal that ends all that it began.

import { fill, h, notice } from "./dom.js";
import { Refused, logOut, user } from "./asking.js";
import { showGroup, showGroups } from "./groups.js";
import { keys, press } from "./keys.js";
import { showLogin } from "./login.js";
import { showTopic } from "./topic.js";
import { showTopics } from "./topics.js";

const main = document.getElementById("main");
const account = document.getElementById("account");
let ending = new AbortController();

function place() {
  const [path, query] = location.hash.replace(/^#\/?/, "").split("?", 2);
  const [part = "", ...rest] = path.split("/");
  let name = "";
  try {
    name = decodeURIComponent(rest.join("/"));
  } catch {
    name = rest.join("/");
  }
  return { part: part || "topics", name, asked: new URLSearchParams(query ?? "") };
}

async function show() {
  ending.abort();
  ending = new AbortController();
  const { signal } = ending;
  const { part, name, asked } = place();
  for (const link of document.querySelectorAll("header nav a")) {
    if (link.getAttribute("href") === `#/${part}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  document.getElementById("user").textContent = user() ?? "";
  account.textContent = user() === null ? "Log in" : "Log out";
  document.title = `brokerkit: ${name || part}`;
  const target = fill(main.cloneNode(false), h("p", { class: "faint" }, "Asking…"));
  const body = h("div", null, ...target.childNodes);
  fill(main, body);
  try {
    if (part === "groups") await (name ? showGroup(body, name, signal) : showGroups(body, signal));
    else if (part === "login") showLogin(body, back);
    else await (name ? showTopic(body, name, asked, signal) : showTopics(body, asked, signal));
  } catch (error) {
    if (!signal.aborted) fail(body, error);
  }
}

function fail(body, error) {
  if (error instanceof Refused && error.status === 401) {
    if (user() !== null) {
      logOut();
      notice("The login has ended.");
    }
    showLogin(body, back);
    return;
  }
  const text = error instanceof Refused ? error.message : `The broker does not answer: ${error.message}`;
  const again = h("button", { type: "button", onclick: show }, "Try again");
  fill(body, h("h1", null, "That cannot be shown"), h("p", { class: "bad", role: "alert" }, text), again);
}

function back() {
  if (place().part === "login") location.hash = "#/topics";
  else show();
}

// What was begun by a button fails here.
addEventListener("unhandledrejection", (event) => {
  if (event.reason?.name !== "AbortError") fail(main.firstElementChild, event.reason);
});

account.addEventListener("click", () => {
  if (user() === null) {
    location.hash = "#/login";
  } else {
    logOut();
    show();
  }
});

const THEMES = ["", "light", "dark"];

function theme(name) {
  if (name) document.documentElement.dataset.theme = name;
  else delete document.documentElement.dataset.theme;
}

document.getElementById("theme").addEventListener("click", () => {
  const next = THEMES[(THEMES.indexOf(localStorage.getItem("brokerkit.theme") ?? "") + 1) % THEMES.length];
  localStorage.setItem("brokerkit.theme", next);
  theme(next);
  notice(next ? `Theme: ${next}` : "Theme: as the system has it");
});

theme(localStorage.getItem("brokerkit.theme") ?? "");
document.getElementById("keys").addEventListener("click", keys);
document.addEventListener("keydown", press);
addEventListener("hashchange", show);
show();
