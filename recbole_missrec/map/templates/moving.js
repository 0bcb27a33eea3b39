// Pointer, touch and keys on the map. One finger scrolls the page; two move and zoom the map.
const pointers = new Map();
let moved = 0;

function place(event) {
  const box = canvas.getBoundingClientRect();
  return { x: (event.clientX - box.left) * ratio(), y: (event.clientY - box.top) * ratio() };
}

/** The visible point that costs least, or -1; costs are of the distances right and down. */
function cheapest(x, y, cost, most = Infinity) {
  const unit = scale();
  let [best, least] = [-1, most];
  for (let point = 0; point < points; point++) {
    if (!visible(point) || !found(point)) continue;
    const paid = cost(across(point, unit) - x, down(point, unit) - y);
    if (paid < least) [best, least] = [point, paid];
  }
  return best;
}

const nearest = (at, reach) =>
  cheapest(at.x, at.y, (x, y) => x * x + y * y, (reach * ratio()) ** 2);

canvas.addEventListener("pointerdown", event => {
  pointers.set(event.pointerId, place(event));
  canvas.setPointerCapture(event.pointerId);
  moved = 0;
});

canvas.addEventListener("pointermove", event => {
  const now = place(event);
  const before = pointers.get(event.pointerId);
  if (!before) {
    const point = nearest(now, 14);
    canvas.classList.toggle("over", point >= 0);
    if (point >= 0) show(point);
    return;
  }
  const [other] = [...pointers].filter(([id]) => id !== event.pointerId).map(([, at]) => at);
  moved += Math.hypot(now.x - before.x, now.y - before.y);
  const share = other ? 0.5 : 1; // each of two fingers moves the middle by half
  view.x -= share * (now.x - before.x) / scale();
  view.y += share * (now.y - before.y) / scale();
  if (other) {
    const apart = at => Math.max(1, Math.hypot(at.x - other.x, at.y - other.y));
    zoom(apart(now) / apart(before), (now.x + other.x) / 2, (now.y + other.y) / 2);
  }
  pointers.set(event.pointerId, now);
  redraw();
});

canvas.addEventListener("pointerup", event => {
  const still = pointers.size === 1 && moved < 4 * ratio();
  pointers.delete(event.pointerId);
  if (!still) return;
  const point = nearest(place(event), event.pointerType === "touch" ? 28 : 14);
  if (point < 0) return;
  show(point);
  if (event.pointerType !== "touch") toggle(interestOf[point]);
});

canvas.addEventListener("pointercancel", event => pointers.delete(event.pointerId));

canvas.addEventListener("wheel", event => {
  if (!event.ctrlKey && !event.metaKey) return; // else the page could not be scrolled
  event.preventDefault();
  zoom(Math.exp(-event.deltaY / 300), ...Object.values(place(event)));
}, { passive: false });

/** The next point in a direction: near, and rather ahead than beside. */
function step(right, below) {
  if (state.point < 0 || !visible(state.point) || !found(state.point)) {
    return nearest({ x: size.width / 2, y: size.height / 2 }, Infinity);
  }
  const unit = scale();
  return cheapest(across(state.point, unit), down(state.point, unit), (x, y) => {
    const [ahead, beside] = [x * right + y * below, Math.abs(x * below + y * right)];
    return ahead > 1e-6 && beside <= 2 * ahead ? ahead + 2 * beside : Infinity;
  });
}

/** Brings a point that lies outside of the map's edges to its middle. */
function bringIn(point) {
  const unit = scale();
  const [x, y] = [across(point, unit), down(point, unit)];
  if (x < 0 || y < 0 || x > size.width || y > size.height)
    Object.assign(view, { x: xs[point], y: ys[point] });
}

const STEPS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const KEYS = {
  "+": () => zoom(1.5),
  "=": () => zoom(1.5),
  "-": () => zoom(1 / 1.5),
  "0": whole,
  Enter: () => state.point >= 0 && toggle(interestOf[state.point]),
  Escape: () => search(""),
};

canvas.addEventListener("keydown", event => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (!(event.key in STEPS) && !(event.key in KEYS)) return;
  event.preventDefault();
  if (event.key in KEYS) return void KEYS[event.key]();
  const point = step(...STEPS[event.key]);
  if (point < 0) return;
  bringIn(point);
  show(point);
});

for (const [id, act] of [
  ["closer", () => zoom(1.5)], ["farther", () => zoom(1 / 1.5)], ["whole", whole],
]) byId(id).addEventListener("click", act);
