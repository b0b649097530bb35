// Who one is: a name and a password, or a token.

import { logIn } from "./asking.js";
import { fill, h } from "./dom.js";

export function showLogin(body, then) {
  const name = h("input", { name: "name", autocomplete: "username", "data-key": "find" });
  const secret = h("input", { name: "secret", type: "password", autocomplete: "current-password", required: true });
  const said = h("p", { class: "bad", role: "alert" });
  const form = h(
    "form",
    { class: "login" },
    h("label", null, "Name (none for a token)", name),
    h("label", null, "Password or token", secret),
    h("button", null, "Log in"),
    said,
  );
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    said.replaceChildren();
    try {
      await logIn(name.value.trim(), secret.value);
      then();
    } catch (error) {
      said.textContent = `Not logged in: ${error.message}`;
      secret.select();
    }
  });
  fill(body, h("h1", null, "Log in"), form);
  name.focus();
}
