"use strict";
// What the page holds, unpacked: a point is a token, point = modality * items + item.
const data = JSON.parse(document.getElementById("data").textContent);
const unpack = (text, Kind) =>
  new Kind(Uint8Array.from(atob(text), sign => sign.charCodeAt(0)).buffer);
const [xs, ys] = [unpack(data.x, Uint16Array), unpack(data.y, Uint16Array)];
const interestOf = unpack(data.interest, Int32Array); // -1 where an item lacks the modality
const typical = unpack(data.typical, Int32Array); // the row of an interest, -1 at its end
const items = data.tokens.length;
const points = interestOf.length;
const present = interestOf.filter(interest => interest >= 0).length;
const perInterest = typical.length / data.words.length;

const itemOf = point => point % items;
const modalityOf = point => Math.floor(point / items);
const titleOf = item => data.titles?.[item] || data.tokens[item];
const pictureOf = item => data.pictures[item];
const typicalOf = interest =>
  Array.from(typical.subarray(interest * perInterest, (interest + 1) * perInterest))
    .filter(item => item >= 0);

const sizes = data.modalities.map(() => new Int32Array(data.words.length));
for (let point = 0; point < points; point++)
  if (interestOf[point] >= 0) sizes[modalityOf(point)][interestOf[point]]++;
const sizeOf = interest => sizes.reduce((sum, size) => sum + size[interest], 0);
const used = data.words.map((_, interest) => interest).filter(sizeOf);

const HUES = 40;
const hueOf = interest => Math.floor((interest * 137.508) % 360 / (360 / HUES)); // golden angle
const degrees = hue => hue * 360 / HUES;

const state = {
  shown: data.modalities.map(() => true),
  search: "",
  matches: null, // of each interest whether the search finds it; null finds all
  found: present, // number of their tokens
  point: -1,
  user: 0,
  marked: false,
};

const byId = id => document.getElementById(id);
const count = number => number.toLocaleString("en");
const tokens = number => `${count(number)} token${number === 1 ? "" : "s"}`;
const percent = share => `${(100 * share).toFixed(1)} %`;

/** An element with its properties and children; text is text, never markup. */
function make(tag, properties = {}, ...children) {
  const { dataset = {}, ...others } = properties;
  const made = Object.assign(document.createElement(tag), others);
  Object.assign(made.dataset, dataset);
  made.append(...children.filter(child => child !== null));
  return made;
}

function swatch(interest) {
  const made = make("span", { className: "swatch" });
  made.style.setProperty("--hue", degrees(hueOf(interest)));
  return made;
}

/** A button that shows an interest alone, or all again. */
function interestButton(interest) {
  const made = make("button", { type: "button", className: "interest", dataset: { interest } },
    swatch(interest), make("span", { className: "heard" }, "interest "), String(interest));
  made.setAttribute("aria-pressed", String(state.search === String(interest)));
  made.addEventListener("click", () => toggle(interest));
  return made;
}

function picture(item) {
  return pictureOf(item) ? make("img", { src: pictureOf(item), alt: "" }) : null;
}
