// The controls, and the first view.
document.querySelectorAll("[name=modality]").forEach((box, modality) => {
  box.addEventListener("change", () => {
    state.shown[modality] = box.checked;
    redraw();
  });
});
byId("controls").addEventListener("submit", event => event.preventDefault());
byId("search").addEventListener("input", event => search(event.target.value));
byId("marked").addEventListener("change", event => {
  state.marked = event.target.checked;
  redraw();
});
byId("order").addEventListener("change", listInterests);
byId("more").addEventListener("click", () => {
  rows += MORE;
  listInterests();
});
byId("user").addEventListener("change", event => {
  state.user = Number(event.target.value);
  showUser();
});
byId("head").addEventListener("change", showUser);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
new ResizeObserver(fit).observe(canvas);

measure();
whole();
fit();
listInterests();
showUser();
show(step(0, 0));
