// What is said in words and tables: the point, the interests, a user's history.
const MORE = 25; // rows that a table of interests grows by
const orders = {
  size: [...used].sort((a, b) => sizeOf(b) - sizeOf(a) || a - b),
  number: used,
};
let rows = MORE;

function show(point) {
  if (point === state.point) return;
  state.point = point;
  const item = itemOf(point);
  const title = make("p", { className: "title" }, titleOf(item));
  const named = data.titles?.[item] ? make("p", { className: "token" }, data.tokens[item]) : null;
  byId("point").replaceChildren(...[picture(item), title, named, interestsOf(item, point)]
    .filter(part => part !== null));
  redraw();
}

/** The interests of an item's tokens, a line for each modality; in full for a point of it. */
function interestsOf(item, point = -1) {
  const list = make("ul", { className: "interests" });
  data.modalities.forEach((modality, number) => {
    const interest = interestOf[number * items + item];
    if (interest < 0) return list.append(make("li", {}, `${modality}: absent`));
    const here = point >= 0 && modalityOf(point) === number ? " (this point)" : "";
    const more = [` of ${tokens(sizeOf(interest))}`, data.words[interest]].filter(Boolean);
    list.append(make("li", {}, `${modality}${here}: `, interestButton(interest),
      point >= 0 ? more.join(": ") : ""));
  });
  return list;
}

// --- interests ------------------------------------------------------------------------------

let texts = null; // of each interest what a search looks through, made when it is first wanted

/** Finds interests: a number is that of one, anything else a part of its words or titles. */
function search(text) {
  state.search = text.trim();
  byId("search").value = text;
  const wanted = state.search.toLowerCase();
  if (!wanted) state.matches = null;
  else {
    texts ??= data.words.map((words, interest) =>
      [words, ...typicalOf(interest).map(titleOf)].join("\n").toLowerCase());
    const isNumber = /^\d+$/.test(wanted);
    state.matches = Uint8Array.from(texts, (said, interest) =>
      isNumber ? String(interest) === wanted : said.includes(wanted));
  }
  state.found = used.reduce((sum, interest) =>
    sum + (state.matches === null || state.matches[interest] ? sizeOf(interest) : 0), 0);
  rows = MORE;
  for (const button of document.querySelectorAll("button.interest"))
    button.setAttribute("aria-pressed", String(button.dataset.interest === state.search));
  listInterests();
  redraw();
}

function toggle(interest) {
  const inTable = byId("interests").contains(document.activeElement);
  search(state.search === String(interest) ? "" : String(interest));
  if (!inTable) return; // its rows are new: the focus stays with the interest
  const again = byId("interests").querySelector(`button[data-interest="${interest}"]`);
  (again ?? byId("search")).focus();
}

function listInterests() {
  const all = orders[byId("order").value];
  const some = state.matches === null ? all : all.filter(interest => state.matches[interest]);
  byId("interests").replaceChildren(...some.slice(0, rows).map(interestRow));
  const listed = Math.min(rows, some.length);
  byId("listed").textContent =
    `${count(listed)} of ${count(some.length)} interest${some.length === 1 ? "" : "s"}` +
    (state.matches === null ? "" : " found");
  byId("more").hidden = listed === some.length;
}

function interestRow(interest) {
  const each = data.modalities.map((name, number) =>
    make("span", { className: "each" }, `${name} ${count(sizes[number][interest])}`));
  const list = make("ul", { className: "items" });
  for (const item of typicalOf(interest))
    list.append(make("li", {}, picture(item), make("span", {}, titleOf(item))));
  const words = data.words[interest];
  return make("tr", {},
    make("th", { scope: "row" }, interestButton(interest)),
    make("td", { className: "number" }, count(sizeOf(interest)), ...each),
    make("td", {}, words ? make("p", { className: "words" }, words) : null, list));
}

// --- a user's history -----------------------------------------------------------------------

/** Shares of one head, or their mean over all. */
function shares(heads) {
  const head = Number(byId("head").value);
  if (head >= 0) return heads[head];
  return heads[0].map((_, index) => heads.reduce((sum, row) => sum + row[index], 0) / heads.length);
}

function share(value, most) {
  const bar = make("span", { className: "bar" });
  bar.style.width = `${100 * value / most}%`;
  return make("td", { className: "share" }, make("span", {}, percent(value)), bar);
}

function showUser() {
  const user = data.users[state.user];
  const toItems = shares(user.toItems);
  const most = Math.max(...toItems);
  const history = user.items.map((item, place) => make("tr", {},
    make("th", { scope: "row" }, String(place + 1)), itemCell(item), share(toItems[place], most)));
  history.push(make("tr", { className: "next" },
    make("th", { scope: "row" }, "next"), itemCell(user.target), make("td", {}, "not read")));
  byId("history").replaceChildren(...history);

  const toInterests = shares(user.toInterests);
  const order = toInterests.map((_, index) => index)
    .sort((a, b) => toInterests[b] - toInterests[a]);
  byId("read").replaceChildren(...order.map(index => {
    const interest = user.interests[index];
    return make("tr", {},
      make("th", { scope: "row" }, interest < 0 ? "none" : interestButton(interest)),
      make("td", {}, interest < 0 ? "" : data.words[interest] || titleOf(typicalOf(interest)[0])),
      share(toInterests[index], Math.max(...toInterests)));
  }));
  byId("marked-user").textContent = user.user;
  redraw();
}

function itemCell(item) {
  const words = make("div", {}, make("p", { className: "title" }, titleOf(item)),
    interestsOf(item));
  return make("td", {}, make("div", { className: "item" }, picture(item), words));
}
