// Asking the broker, and being who one is.  What is shown of oneself is kept for this tab alone.  It is sent by hand and
// never by the browser ("omit"), so that no other page can ask in one's name, and no dialog of the browser comes up.

const KEY = "brokerkit.authorization";
const NAME = "brokerkit.user";

export class Refused extends Error {
  constructor(status, text) {
    super(text);
    this.status = status;
  }
}

export function user() {
  return sessionStorage.getItem(NAME);
}

function headers(more) {
  const shown = sessionStorage.getItem(KEY);
  return { ...(shown ? { authorization: shown } : {}), ...more };
}

export function logOut() {
  sessionStorage.removeItem(KEY);
  sessionStorage.removeItem(NAME);
}

function remember(name, authorization) {
  sessionStorage.setItem(KEY, authorization);
  sessionStorage.setItem(NAME, name);
}

// A name and a password become a token, which ends by itself; a token is taken as it is.
export async function logIn(name, secret) {
  if (!name) {
    remember("token", `Bearer ${secret}`);
    return;
  }
  const answer = await fetch("/login", {
    method: "POST",
    credentials: "omit",
    headers: { "content-type": "application/x-www-form-urlencoded" },
    body: new URLSearchParams({ username: name, password: secret }),
  });
  if (answer.ok) {
    remember(name, `Bearer ${(await answer.json()).token}`);
    return;
  }
  if (answer.status !== 404) throw new Refused(answer.status, await reason(answer));
  remember(name, `Basic ${btoa(String.fromCharCode(...new TextEncoder().encode(`${name}:${secret}`)))}`);
}

async function reason(answer) {
  try {
    const said = await answer.json();
    return said.detail || said.title || said.error || `status ${answer.status}`;
  } catch {
    return `status ${answer.status}`;
  }
}

export async function get(path, signal) {
  const answer = await fetch(path, { credentials: "omit", cache: "no-cache", headers: headers(), signal });
  if (!answer.ok) throw new Refused(answer.status, await reason(answer));
  return answer.json();
}

const LONGEST = 64 * 1024 * 1024; // letters of one event

// Server-sent events by fetch, since EventSource cannot say who asks.  Goes on after what it got last until the signal
// ends it; what cannot get better by itself (4xx) is thrown.
export async function follow(path, heard, state, signal) {
  let last = "";
  for (;;) {
    try {
      const wanted = headers({ accept: "text/event-stream", ...(last ? { "last-event-id": last } : {}) });
      const answer = await fetch(path, { credentials: "omit", cache: "no-store", headers: wanted, signal });
      if (!answer.ok) throw new Refused(answer.status, await reason(answer));
      state("live");
      const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
      let rest = "";
      for (;;) {
        const { value, done } = await reader.read();
        if (done) break;
        const parts = (rest + value).split(/\r?\n\r?\n/);
        rest = parts.pop();
        if (rest.length > LONGEST) throw new Error("an event is too large");
        for (const part of parts) {
          const event = parse(part);
          if (event.id !== null) last = event.id;
          if (event.data !== null) heard(event);
        }
      }
    } catch (error) {
      if (signal.aborted) return;
      if (error instanceof Refused && error.status < 500 && error.status !== 429) throw error;
    }
    state("waiting");
    await new Promise((resume) => {
      const alarm = setTimeout(resume, 2000);
      signal.addEventListener("abort", () => { clearTimeout(alarm); resume(); }, { once: true });
    });
    if (signal.aborted) return;
  }
}

export function parse(text) {
  const event = { type: "message", id: null, data: null };
  for (const line of text.split(/\r?\n/)) {
    const colon = line.indexOf(":");
    const name = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
    if (name === "data") event.data = event.data === null ? value : `${event.data}\n${value}`;
    else if (name === "id") event.id = value;
    else if (name === "event") event.type = value;
  }
  return event;
}
