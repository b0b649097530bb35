// Elements and texts.  Whatever is shown becomes a text node: nothing here reads a string as HTML, and the page's
// policy (trusted types) would not let it.

export function h(tag, attributes, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (name.startsWith("on")) {
      element.addEventListener(name.slice(2), value);
    } else if (value === true) {
      element.setAttribute(name, "");
    } else if (value !== false && value !== null && value !== undefined) {
      element.setAttribute(name, value);
    }
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
}

export function fill(element, ...children) {
  element.replaceChildren(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
}

export function table(columns, rows) {
  const head = columns.map(([text, kind]) => h("th", { class: kind, scope: "col" }, text));
  return h("div", { class: "scroll" }, h("table", null, h("thead", null, h("tr", null, head)), h("tbody", null, rows)));
}

// What could change how other text is read (controls, and marks that turn the direction around) is shown as what it is.
const HIDDEN = /[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb]/g;

export function visible(text, oneLine = false) {
  const plain = text.replace(HIDDEN, (letter) => "\\u" + letter.charCodeAt(0).toString(16).padStart(4, "0"));
  return oneLine ? plain.replace(/\s+/g, " ") : plain.replace(/\r/g, "\\r");
}

export function count(number) {
  return number === null || number === undefined ? "–" : Number(number).toLocaleString("en");
}

export function bytes(number) {
  if (number === null || number === undefined) return "–";
  const units = ["B", "kB", "MB", "GB", "TB"];
  let unit = 0;
  while (number >= 1000 && unit < units.length - 1) {
    number /= 1000;
    unit += 1;
  }
  return `${unit && number < 100 ? number.toFixed(1) : Math.round(number)} ${units[unit]}`;
}

export function moment(ms) {
  const date = new Date(ms);
  return ms === null || ms === undefined || Number.isNaN(date.getTime()) ? "–" : date.toISOString().replace("T", " ");
}

export function duration(seconds) {
  if (!seconds) return "for ever";
  const units = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];
  const [size, name] = units.find(([size]) => seconds >= size) ?? [1, "s"];
  return `${Math.round((10 * seconds) / size) / 10} ${name}`;
}

let forget = 0;

export function notice(text) {
  const place = document.getElementById("notice");
  place.textContent = text;
  clearTimeout(forget);
  forget = setTimeout(() => place.replaceChildren(), 6000);
}
