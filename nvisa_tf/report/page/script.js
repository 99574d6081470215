
"use strict";
const content = JSON.parse(document.getElementById("content").textContent);
const names = JSON.parse(document.getElementById("names").textContent);
const map = content.map;
const tip = document.getElementById("tip");
const canvas = document.getElementById("points");
const context = canvas.getContext("2d");
const sheet = document.getElementById("sheet");
const PAD = 14; // pixels between the outermost points and the edge
const NEAR = 18; // pixels from a point at which it is meant
const hidden = new Set();
const cells = new Map(map.sheet ? map.sheet.cells.map((point, cell) => [point, cell]) : []);
let chosen = -1;

const percent = share => {
  const value = 100 * share;
  return value > 99.9 && value < 100 ? "over 99.9%" : value > 99 || value < 10 ? `${+value.toFixed(1)}%` : `${Math.round(value)}%`;
};
const element = (name, text) => Object.assign(document.createElement(name), {textContent: text});

function showTip(parts, x, y) {
  tip.replaceChildren(...parts);
  tip.hidden = false;
  const {width, height} = tip.getBoundingClientRect();
  const left = Math.min(Math.max(8, x + 14), document.documentElement.clientWidth - width - 8);
  const below = y + 18;
  tip.style.left = `${Math.max(8, left)}px`;
  tip.style.top = `${below + height < innerHeight ? below : Math.max(8, y - height - 14)}px`;
}
const hideTip = () => { tip.hidden = true; };

// Pictures: the file's name, and how sure the model is.
for (const thumb of document.querySelectorAll(".thumb")) {
  const [name, ...rest] = thumb.title.split("\n");
  thumb.removeAttribute("title");
  const show = () => {
    const box = thumb.getBoundingClientRect();
    showTip([element("b", name), element("div", rest.join(" "))], box.left, box.bottom - 10);
  };
  for (const event of ["pointerenter", "focus", "click"]) thumb.addEventListener(event, show);
  for (const event of ["pointerleave", "blur"]) thumb.addEventListener(event, hideTip);
}

// The map. A point's place on the canvas:
const size = () => ({width: canvas.clientWidth, height: canvas.clientHeight});
function place(point) {
  const {width, height} = size();
  const side = Math.min(width, height) - 2 * PAD;
  // A wide canvas is used in full; groups keep their neighbours, and distances mean little.
  const across = width > height ? width - 2 * PAD : side;
  return [PAD + map.x[point] / map.scale * across, PAD + map.y[point] / map.scale * (height - 2 * PAD)];
}
const radius = () => map.x.length > 8000 ? 1.4 : map.x.length > 2500 ? 2 : map.x.length > 600 ? 2.8 : 4;

function colours() {
  return new Map(Array.from(document.querySelectorAll("#legend .toggle"), toggle =>
    [+toggle.dataset.cluster, getComputedStyle(toggle).getPropertyValue("--c").trim()]));
}

function draw() {
  const {width, height} = size(), ratio = devicePixelRatio || 1, dots = radius();
  canvas.width = Math.round(width * ratio);
  canvas.height = Math.round(height * ratio);
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  const colour = colours();
  context.globalAlpha = 0.75;
  for (let i = 0; i < map.x.length; i++) {
    if (hidden.has(map.cluster[i])) continue;
    const [x, y] = place(i);
    context.fillStyle = colour.get(map.cluster[i]);
    context.beginPath();
    context.arc(x, y, dots, 0, 7);
    context.fill();
  }
  context.globalAlpha = 1;
  if (chosen >= 0) {
    const [x, y] = place(chosen);
    context.beginPath();
    context.arc(x, y, dots + 4, 0, 7);
    context.lineWidth = 2;
    context.strokeStyle = getComputedStyle(canvas).color;
    context.stroke();
  }
}

function nearest(x, y, within) {
  let best = -1, least = within * within;
  for (let i = 0; i < map.x.length; i++) {
    if (hidden.has(map.cluster[i])) continue;
    const [px, py] = place(i), distance = (px - x) ** 2 + (py - y) ** 2;
    if (distance < least) [best, least] = [i, distance];
  }
  return best;
}

function thumbnail(point) {
  const cell = cells.get(point);
  if (cell === undefined) return [];
  const {side, columns} = map.sheet, picture = document.createElement("canvas");
  picture.width = picture.height = side;
  picture.style.imageRendering = side <= 16 ? "pixelated" : "auto";
  picture.getContext("2d").drawImage(sheet, cell % columns * side, Math.floor(cell / columns) * side, side, side, 0, 0, side, side);
  return [picture];
}

function choose(point) {
  chosen = point;
  draw();
  if (point < 0) return hideTip();
  const lines = [`${names[map.cluster[point]]}, probability ${percent(map.probability[point])}`];
  if (map.class) lines.push(`label: ${map.classes[map.class[point]]}`);
  if (map.values) map.values.names.forEach((name, j) => lines.push(`${name}: ${map.values.rows[point][j]}`));
  const title = content.id_name === "file" ? map.names[point] : `${content.id_name} ${map.names[point]}`;
  const box = canvas.getBoundingClientRect(), [x, y] = place(point);
  showTip([...thumbnail(point), element("b", title), ...lines.map(line => element("div", line))], box.left + x, box.top + y);
}

function pointed(event) {
  const box = canvas.getBoundingClientRect();
  const point = nearest(event.clientX - box.left, event.clientY - box.top, NEAR);
  if (point !== chosen || tip.hidden) choose(point);
}
canvas.addEventListener("pointermove", pointed);
canvas.addEventListener("pointerdown", pointed);
canvas.addEventListener("pointerleave", () => choose(-1));
canvas.addEventListener("blur", () => choose(-1));
const DIRECTIONS = {ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1]};
canvas.addEventListener("keydown", event => {
  if (event.key === "Escape") return choose(-1);
  const direction = DIRECTIONS[event.key];
  if (!direction) return;
  event.preventDefault();
  const {width, height} = size();
  if (chosen < 0) return choose(nearest(width / 2, height / 2, Infinity));
  const [x, y] = place(chosen);
  let best = -1, least = Infinity;
  for (let i = 0; i < map.x.length; i++) { // the nearest one that lies in this direction
    if (hidden.has(map.cluster[i])) continue;
    const [px, py] = place(i), ahead = (px - x) * direction[0] + (py - y) * direction[1];
    const aside = Math.abs((px - x) * direction[1]) + Math.abs((py - y) * direction[0]);
    if (ahead > 0.5 && aside <= 2 * ahead && ahead + 2 * aside < least) [best, least] = [i, ahead + 2 * aside];
  }
  if (best >= 0) choose(best);
});

const toggles = Array.from(document.querySelectorAll("#legend .toggle"));
function setShown(toggle, shown) {
  toggle.setAttribute("aria-pressed", shown);
  hidden[shown ? "delete" : "add"](+toggle.dataset.cluster);
}
for (const toggle of toggles) {
  toggle.addEventListener("click", () => {
    setShown(toggle, toggle.getAttribute("aria-pressed") !== "true");
    choose(-1);
  });
}
for (const [id, shown] of [["all", true], ["none", false]]) {
  document.getElementById(id).addEventListener("click", () => {
    for (const toggle of toggles) setShown(toggle, shown);
    choose(-1);
  });
}
addEventListener("scroll", hideTip, {passive: true});
new ResizeObserver(draw).observe(canvas);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
document.body.dataset.ready = "";
