// The page of the service. What comes from items is only ever text.
"use strict";
const byId = id => document.getElementById(id);
const names = JSON.parse(document.querySelector(".desk").dataset.models);
const sections = [...document.querySelectorAll(".model")];
const history = []; // items: token, title, picture
const known = new Map(); // token -> item, of all that were shown
let asking = new AbortController();
let searching = new AbortController();

function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

async function call(path, options) {
  const answer = await fetch(path, options);
  const told = await answer.json();
  if (answer.ok) return told;
  const detail = told.detail;
  throw new Error(typeof detail === "string" ? detail
    : detail.map(part => `${part.loc.at(-1)}: ${part.msg}`).join("; "));
}

const query = values => new URLSearchParams(values).toString();

/** Runs a call and shows what went wrong, unless a later one took its place. */
async function shown(work) {
  try {
    await work();
    byId("failure").textContent = "";
  } catch (error) {
    if (error.name !== "AbortError") byId("failure").textContent = `This did not work: ${error.message}`;
  }
}

// --- items ----------------------------------------------------------------------------------

function picture(item, name) {
  if (!item.picture) return make("span", { className: "blank" });
  return make("img", { src: `/api/picture?${query({ model: name, item: item.item })}`, alt: "", loading: "lazy" });
}

function titled(item) {
  const told = make("div", { className: "told" }, make("p", { className: "title", title: item.title }, item.title));
  if (item.title !== item.item) told.append(make("p", { className: "token" }, item.item));
  return told;
}

function button(label, item, act) {
  const made = make("button", { type: "button", onclick: act }, label);
  made.setAttribute("aria-label", `${label} ${item.title}`);
  return made;
}

function add(item) {
  history.push(item);
  changed(`${item.title} is added to the history`);
}

function search() {
  searching.abort();
  searching = new AbortController();
  const signal = searching.signal;
  return shown(async () => {
    const words = byId("words").value;
    const found = await call(`/api/items?${query({ model: names[0], words, limit: 8 })}`, { signal });
    found.forEach(item => known.set(item.item, item));
    byId("found").replaceChildren(...found.map(item =>
      make("li", {}, picture(item, names[0]), titled(item), button("Add", item, () => add(item)))));
    byId("status").textContent = words ? `${found.length} item${found.length === 1 ? "" : "s"} found` : "";
  });
}

// --- history and recommendations ------------------------------------------------------------

function showHistory() {
  byId("history").replaceChildren(...history.map((item, place) =>
    make("li", {}, picture(item, names[0]), titled(item), button("Remove", item, () => {
      history.splice(place, 1);
      changed(`${item.title} is removed from the history`);
      const rest = byId("history").querySelectorAll("button");
      (rest[Math.min(place, rest.length - 1)] ?? byId("words")).focus();
    }))));
  byId("empty").hidden = history.length > 0;
  byId("clear").hidden = history.length === 0;
}

function changed(said) {
  showHistory();
  asking.abort();
  asking = new AbortController();
  const signal = asking.signal;
  return shown(async () => {
    const told = await Promise.all(names.map(model => call("/api/recommend", {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({
        model, history: history.map(item => item.item), exclude_history: byId("exclude").checked, explain: true,
      }),
      signal,
    })));
    for (const list of told) for (const item of list.items) known.set(item.item, item);
    const others = told[1] ? new Set(told[1].items.map(item => item.item)) : null;
    told.forEach((list, place) => showModel(sections[place], names[place], list));
    const common = others ? told[0].items.filter(item => others.has(item.item)).length : 0;
    byId("status").textContent = `${said}; recommendations have changed` +
      (others ? `; ${common} are of both models` : "");
  });
}

function showModel(section, name, list) {
  section.querySelector(".note").textContent = list.fallback
    ? "Nothing is known yet: the items with the most interactions."
    : list.unknown ? `${list.unknown} of the history are unknown to this model.` : "";
  section.querySelector("ol").replaceChildren(...list.items.map((item, place) => {
    const told = titled(item);
    told.append(why(item, list.fallback));
    return make("li", {}, make("span", { className: "rank" }, String(place + 1)), picture(item, name), told,
      button("Add", item, () => add(item)));
  }));
  section.querySelector("h3").hidden = list.history.length === 0;
  section.querySelector(".reading").replaceChildren(...(list.history.length ? [looked(list), touched(list)] : []));
}

function why(item, fallback) {
  if (fallback) return make("p", { className: "token" }, `${item.score} interactions`);
  const list = make("ul", { className: "parts" }, make("li", {}, `score ${item.score.toFixed(2)}`));
  list.setAttribute("aria-label", `Why: score and what it is made of`);
  for (const part of item.parts ?? []) {
    if (part.weight === 0) continue;
    const value = `${part.part} ${part.contribution < 0 ? "−" : "+"}${Math.abs(part.contribution).toFixed(2)}`;
    list.append(make("li", {}, part.weight === null ? value : `${value} (weight ${Math.round(100 * part.weight)} %)`));
  }
  return list;
}

const titleOf = token => known.get(token)?.title ?? token;

function share(value, most) {
  const bar = make("span", { className: "bar" });
  bar.style.width = `${100 * value / most}%`;
  return make("td", { className: "share" }, `${Math.round(100 * value)} %`, bar);
}

function table(caption, heads, rows) {
  return make("table", {}, make("caption", {}, caption),
    make("thead", {}, make("tr", {}, ...heads.map(head => make("th", { scope: "col" }, head)))),
    make("tbody", {}, ...rows));
}

function looked(list) {
  const most = Math.max(...list.history.map(part => part.attention));
  return table("Attention to the items of the history", ["Item", "Attention"], list.history.map(part =>
    make("tr", {}, make("td", {}, titleOf(part.item)), share(part.attention, most))));
}

function touched(list) {
  const most = Math.max(...list.interests.map(part => part.attention));
  return table("Interests of the history, with their typical items", ["Typical items", "Attention"],
    list.interests.map(part => make("tr", {},
      make("td", {}, part.typical.map(item => item.title).join("; ")), share(part.attention, most))));
}

// --- start ----------------------------------------------------------------------------------

byId("search").addEventListener("submit", event => {
  event.preventDefault();
  byId("found").querySelector("button")?.focus();
});
byId("words").addEventListener("input", search);
byId("exclude").addEventListener("change", () => changed("The choice is changed"));
byId("controls").addEventListener("submit", event => event.preventDefault());
byId("clear").addEventListener("click", () => {
  history.length = 0;
  changed("The history is empty");
  byId("words").focus();
});
search();
changed("Ready");
