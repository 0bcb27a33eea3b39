// The map: a sprite for each colour and shape is drawn once, and then stamped for each point.
const canvas = byId("map");
const pen = canvas.getContext("2d", { alpha: false });
const size = { width: 1, height: 1 }; // of the canvas, in pixels of the device, which is read often
const sheets = new Map(); // of sprites, by their size and colours
const view = { zoom: 1, x: 0, y: 0 }; // the centre, in the units of xs and ys
const middle = {};
let frame = 0;

/** Pixels of the device for a unit of xs. */
const scale = () =>
  view.zoom * 0.94 * Math.min(size.width / middle.width, size.height / middle.height);
const across = (point, unit) => size.width / 2 + (xs[point] - view.x) * unit;
const down = (point, unit) => size.height / 2 - (ys[point] - view.y) * unit;
const ratio = () => window.devicePixelRatio || 1;
const visible = point => interestOf[point] >= 0 && state.shown[modalityOf(point)];
const found = point => state.matches === null || state.matches[interestOf[point]] === 1;

function measure() {
  let [left, right, low, high] = [65535, 0, 65535, 0];
  for (let point = 0; point < points; point++)
    if (interestOf[point] >= 0) {
      left = Math.min(left, xs[point]);
      right = Math.max(right, xs[point]);
      low = Math.min(low, ys[point]);
      high = Math.max(high, ys[point]);
    }
  Object.assign(middle, { x: (left + right) / 2, y: (low + high) / 2 });
  Object.assign(middle, { width: Math.max(1, right - left), height: Math.max(1, high - low) });
}

/** Half of a mark's width: smaller the more marks there are, larger close by. */
function radius(marks) {
  const room = Math.sqrt(size.width * size.height / marks) * 0.2;
  return Math.min(5 * ratio(), Math.max(1.1 * ratio(), room)) * Math.min(3, view.zoom ** 0.35);
}

const SHAPES = [
  (brush, x, y, r) => brush.arc(x, y, r, 0, 7),
  (brush, x, y, r) => brush.rect(x - r * 0.87, y - r * 0.87, r * 1.74, r * 1.74),
  (brush, x, y, r) => polygon(brush, x, y, r * 1.25, [[0, -1], [0.87, 0.6], [-0.87, 0.6]]),
  (brush, x, y, r) => polygon(brush, x, y, r * 1.2, [[0, -1], [1, 0], [0, 1], [-1, 0]]),
];
const shapeOf = modality => SHAPES[modality % SHAPES.length];

function polygon(brush, x, y, r, corners) {
  for (const [right, below] of corners) brush.lineTo(x + right * r, y + below * r);
  brush.closePath();
}

/** Sprites of a size in the colours of the page: a column a hue, then one for points that a search
 * does not find; a row a modality. */
function stamps(r) {
  const style = getComputedStyle(document.documentElement);
  const colours = ["--dot-light", "--dot-chroma", "--faint", "--paper"].map(name =>
    style.getPropertyValue(name).trim());
  const key = [r, ...colours].join();
  if (sheets.has(key)) return sheets.get(key);
  if (sheets.size > 8) sheets.clear();
  const [light, chroma, faint, paper] = colours;
  const cell = 2 * Math.ceil(r * 1.3) + 2;
  const sheet = make("canvas", { width: cell * (HUES + 1), height: cell * data.modalities.length });
  const brush = sheet.getContext("2d", { willReadFrequently: true });
  brush.fillStyle = paper;
  brush.fillRect(0, 0, 1, 1);
  const ground = new Uint32Array(brush.getImageData(0, 0, 1, 1).data.buffer)[0];
  brush.clearRect(0, 0, 1, 1);
  brush.strokeStyle = paper; // an edge keeps points apart that lie on each other
  brush.lineWidth = r / 2;
  for (let hue = 0; hue <= HUES; hue++) {
    brush.fillStyle = hue < HUES ? `oklch(${light} ${chroma} ${degrees(hue)})` : faint;
    data.modalities.forEach((_, modality) => {
      brush.beginPath();
      shapeOf(modality)(brush, (hue + 0.5) * cell, (modality + 0.5) * cell, r);
      if (r > 2.5 * ratio()) brush.stroke();
      brush.fill();
    });
  }
  const ink = brush.getImageData(0, 0, sheet.width, sheet.height).data;
  sheets.set(key, { cell, ground, ink, wide: sheet.width });
  return sheets.get(key);
}

/** Blends a sprite into pixels; a browser's own drawing is far slower for 100,000 points. */
function blend(pixels, { cell, ink, wide }, left, top, column, row) {
  const { width, height } = size;
  const right = Math.min(cell, width - left);
  const bottom = Math.min(cell, height - top);
  for (let y = Math.max(0, -top); y < bottom; y++)
    for (let x = Math.max(0, -left); x < right; x++) {
      const from = 4 * ((row * cell + y) * wide + column * cell + x);
      const share = ink[from + 3] / 255;
      if (share === 0) continue;
      const to = 4 * ((top + y) * width + left + x);
      for (let part = 0; part < 3; part++)
        pixels[to + part] += share * (ink[from + part] - pixels[to + part]);
    }
}

function draw() {
  frame = 0;
  const unit = scale();
  const sheet = stamps(radius(state.found));
  const image = pen.createImageData(size.width, size.height);
  new Uint32Array(image.data.buffer).fill(sheet.ground);
  for (const finds of state.matches === null ? [true] : [false, true]) {
    const marks = finds ? sheet : stamps(radius(present));
    for (let point = 0; point < points; point++) {
      if (!visible(point) || found(point) !== finds) continue;
      const column = finds ? hueOf(interestOf[point]) : HUES;
      const left = Math.round(across(point, unit) - marks.cell / 2);
      const top = Math.round(down(point, unit) - marks.cell / 2);
      blend(image.data, marks, left, top, column, modalityOf(point));
    }
  }
  pen.putImageData(image, 0, 0);
  if (state.marked) markHistory(unit, sheet.cell / 2);
  if (state.point >= 0 && visible(state.point))
    ring(state.point, unit, sheet.cell / 2 + 3 * ratio(), 2);
}

function ring(point, unit, r, width) {
  pen.strokeStyle = getComputedStyle(canvas).color;
  pen.lineWidth = width * ratio();
  pen.beginPath();
  pen.arc(across(point, unit), down(point, unit), r, 0, 7);
  pen.stroke();
}

/** Rings around the tokens of a history, and a line from item to item in each modality. */
function markHistory(unit, r) {
  const history = data.users[state.user].items;
  data.modalities.forEach((_, modality) => {
    const way = history.map(item => modality * items + item).filter(visible);
    pen.strokeStyle = getComputedStyle(canvas).color;
    pen.lineWidth = 0.75 * ratio();
    pen.beginPath();
    for (const point of way) pen.lineTo(across(point, unit), down(point, unit));
    pen.stroke();
    for (const point of new Set(way)) ring(point, unit, r, 1.25);
  });
}

function redraw() {
  frame ||= requestAnimationFrame(draw);
}

function fit() {
  size.width = canvas.width = Math.max(1, Math.round(canvas.clientWidth * ratio()));
  size.height = canvas.height = Math.max(1, Math.round(canvas.clientHeight * ratio()));
  draw();
}

function whole() {
  Object.assign(view, { zoom: 1, x: middle.x, y: middle.y });
  redraw();
}

/** Zooms so that what is under a place of the canvas, in its pixels, stays there. */
function zoom(factor, x = size.width / 2, y = size.height / 2) {
  const before = scale();
  view.zoom = Math.min(200, Math.max(1, view.zoom * factor));
  const after = scale();
  view.x += (x - size.width / 2) * (1 / before - 1 / after);
  view.y -= (y - size.height / 2) * (1 / before - 1 / after);
  redraw();
}
