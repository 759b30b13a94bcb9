"use strict";
// Everything that came from an application is put into the page as text, never as markup.
const leaks = JSON.parse(document.getElementById("data").textContent);
const SEVERITIES = ["critical", "high", "low", "note"], ROW = 64, SVG = "http://www.w3.org/2000/svg";
const on = new Set(leaks.some((l) => l.severity !== "note") ? ["critical", "high", "low"] : SEVERITIES);
const $ = (id) => document.getElementById(id);
const list = $("list"), space = $("space"), detail = $("detail"), search = $("search");
let shown = [], picked = null;

function el(tag, className, ...children) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  made.append(...children);
  return made;
}
function draw(tag, attributes, text) {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  if (text !== undefined) made.textContent = text;
  return made;
}
const short = (text, n) => (text.length > n ? text.slice(0, n - 1) + "…" : text);
const when = (t) => new Date(t * 1000).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "medium" });
const place = (l) => (l.location ? `${l.location.file}:${l.location.line} in ${l.location.function}` : "line not known");
const ago = (s) => (s < 1 ? `${(s * 1000).toFixed(1)} ms` : s < 120 ? `${s.toFixed(1)} s` : `${Math.round(s / 60).toLocaleString()} min`);
const named = (r) => `${r.method} ${r.path}`.trim();

for (const leak of leaks) {
  const requests = leak.lanes.map((r) => `${named(r)} ${r.id}`).join(" ");
  leak.text = [leak.path, leak.kind, leak.id, place(leak), leak.location ? leak.location.source : "", requests].join(" ").toLowerCase();
}
const ORDERS = {
  severity: (a, b) => SEVERITIES.indexOf(a.severity) - SEVERITIES.indexOf(b.severity) || b.count - a.count,
  count: (a, b) => b.count - a.count, last: (a, b) => b.last - a.last, first: (a, b) => a.first - b.first,
  path: (a, b) => (a.path < b.path ? -1 : a.path > b.path ? 1 : 0),
};

function refresh() {
  const words = search.value.toLowerCase().split(/\s+/).filter(Boolean), sure = $("confidence").value;
  shown = leaks.filter((l) => on.has(l.severity) && (!sure || l.confidence === sure) && words.every((w) => l.text.includes(w)));
  shown.sort(ORDERS[$("order").value]);
  space.style.height = `${shown.length * ROW}px`;
  $("shown").textContent = `${shown.length.toLocaleString()} of ${leaks.length.toLocaleString()} distinct leaks`;
  list.scrollTop = 0;
  pick(shown.includes(picked) ? picked : shown[0] || null);
}
function rows() {
  const from = Math.max(0, Math.floor(list.scrollTop / ROW) - 4);
  const to = Math.min(shown.length, Math.ceil((list.scrollTop + list.clientHeight) / ROW) + 4);
  space.replaceChildren(...shown.slice(from, to).map((leak, i) => {
    const row = el("div", `row ${leak.severity}${leak === picked ? " picked" : ""}`,
      el("div", "", el("span", "mono", leak.path), el("span", "times", `${leak.count.toLocaleString()}×`)),
      el("div", "", el("span", "where", `${leak.kind} · ${place(leak)}`), el("span", "sev", leak.severity)));
    row.style.top = `${(from + i) * ROW}px`;
    row.setAttribute("role", "option");
    row.setAttribute("aria-selected", String(leak === picked));
    row.addEventListener("click", () => pick(leak));
    return row;
  }));
  if (!shown.length) space.replaceChildren(el("p", "empty", "No leak matches."));
}
function pick(leak) {
  picked = leak;
  const i = shown.indexOf(leak);
  if (i >= 0) {
    if (i * ROW < list.scrollTop) list.scrollTop = i * ROW;
    if ((i + 1) * ROW > list.scrollTop + list.clientHeight) list.scrollTop = (i + 1) * ROW - list.clientHeight;
  }
  rows();
  detail.replaceChildren(...(leak ? describe(leak) : [el("p", "empty", leaks.length ? "Nothing to show: change the filter." : "No shared state was changed.")]));
  detail.className = leak ? leak.severity : "";
  detail.scrollTop = 0;
}
function fact(value, name) { return el("div", "", el("b", "", value), el("span", "", name)); }
function copied(text) {
  const box = el("div", "fix", el("span", "", text)), button = el("button", "", "Copy");
  button.type = "button";
  button.addEventListener("click", async () => {
    try { await navigator.clipboard.writeText(text); button.textContent = "Copied"; }
    catch { getSelection().selectAllChildren(box.firstChild); button.textContent = "Selected"; }
  });
  box.append(button);
  return box;
}
function describe(leak) {
  const parts = [el("div", "", el("span", `badge ${leak.severity}`, leak.severity), el("span", "badge", leak.confidence), el("span", "badge", `leak ${leak.id}`)),
    el("h2", "mono", leak.path), el("p", "soft", `${leak.kind}: ${leak.before} → ${leak.after}. ${leak.reason}.`),
    el("div", "facts", fact(leak.count.toLocaleString(), "times"), fact(leak.processes.toLocaleString(), "processes"), fact(when(leak.first), "first seen"), fact(when(leak.last), "last seen"))];
  parts.push(el("h3", "", "Where"));
  if (leak.location) {
    const l = leak.location, source = el("pre", "", el("span", "ln", String(l.line)), l.source.trim() || "(source not available)");
    parts.push(source, el("p", "soft", `${l.file} in ${l.function}${l.via ? `, written by ${l.via}` : ""}`));
    if (l.calls.length > 1) parts.push(el("p", "soft mono", l.calls.join(" › ")));
  } else parts.push(el("p", "soft", "The line is not known yet; locate=\"always\" finds it at the first occurrence."));
  if (leak.fix) parts.push(el("h3", "", "Fix for this line"), copied(leak.fix));
  parts.push(el("h3", "", "Or, if it is meant"), copied(`allow = ["${leak.root}  # why it is meant"]`));
  parts.push(el("h3", "", "One occurrence"), swimlane(leak), el("p", "soft", aside(leak)));
  return parts;
}
function aside(leak) {
  const until = leak.restored ? "It was put back later in the same request: only requests that overlap it could read it." : "It stays until something overwrites it or the process ends: every later request can read it.";
  const more = leak.more ? ` ${leak.more.toLocaleString()} more requests were in flight.` : "";
  return `${when(leak.time)}. ${until}${more}${leak.after_response ? " It was written after the response had been sent." : ""}`;
}
function swimlane(leak) {
  const W = 800, LEFT = 250, RIGHT = 20, TOP = 34, H = 26, lanes = leak.lanes;
  const height = TOP + Math.max(1, lanes.length) * H + 30, svg = draw("svg", { viewBox: `0 0 ${W} ${height}`, role: "img", "aria-label": `Swimlane: ${lanes.length} requests around the write at ${leak.path}` });
  const start = Math.min(leak.time, ...lanes.map((r) => r.started)), before = Math.max(leak.time - start, 0.001), end = leak.time + before * 0.45;
  const x = (t) => LEFT + ((t - start) / (end - start)) * (W - LEFT - RIGHT), now = x(leak.time);
  lanes.forEach((r, i) => {
    const y = TOP + i * H, from = x(Math.min(r.started, leak.time));
    svg.append(draw("text", { x: 12, y: y + 16 }, short(named(r), 31)));
    svg.append(draw("rect", { x: from, y: y + 4, width: Math.max(3, now - from), height: H - 9, rx: 4, class: `lane ${r.role}` }));
    svg.append(draw("rect", { x: now, y: y + 4, width: W - RIGHT - now, height: H - 9, rx: 4, class: "risk" }));
    const label = draw("title", {}, `${named(r)} (request ${r.id}), ${r.role}; began ${ago(leak.time - r.started)} before the write`);
    svg.lastChild.append(label);
    if (r.role === "guilty") svg.append(draw("text", { x: now + 10, y: y + 17, class: "says" }, "wrote it"));
    else svg.append(draw("text", { x: now + 10, y: y + 17, class: "dim" }, r.role === "suspect" ? "may have written it" : "can read it"));
  });
  svg.append(draw("line", { x1: now, x2: now, y1: 24, y2: height - 24, class: "moment" }));
  const guilty = lanes.findIndex((r) => r.role === "guilty");
  if (guilty >= 0) svg.append(draw("circle", { cx: now, cy: TOP + guilty * H + H / 2 - 0.5, r: 6, class: "dot" }));
  svg.append(draw("text", { x: now, y: 17, "text-anchor": "middle", class: "says" }, `write: ${leak.kind}`));
  svg.append(draw("text", { x: LEFT, y: height - 9, class: "dim" }, `−${ago(before)}`));
  svg.append(draw("text", { x: now, y: height - 9, "text-anchor": "middle", class: "dim" }, "0"));
  svg.append(draw("text", { x: W - RIGHT, y: height - 9, "text-anchor": "end", class: "dim" }, leak.restored ? "until put back" : "from here on →"));
  return svg;
}
function tiles() {
  $("tiles").replaceChildren(...SEVERITIES.map((name) => {
    const tile = el("button", `tile ${name}`, el("b", "", leaks.filter((l) => l.severity === name).length.toLocaleString()), el("span", "", name));
    tile.type = "button";
    tile.setAttribute("aria-pressed", String(on.has(name)));
    tile.addEventListener("click", () => toggle(name));
    return tile;
  }));
}
function toggle(name) { if (!on.delete(name)) on.add(name); tiles(); refresh(); }
function theme(dark) { document.documentElement.classList.toggle("dark", dark); }
function move(by) { const i = shown.indexOf(picked) + by; if (shown[i]) pick(shown[i]); }

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "Escape") { search.value = ""; search.blur(); refresh(); return; }
  if (/^(INPUT|SELECT)$/.test(event.target.tagName)) { if (event.key === "Enter") event.target.blur(); return; }
  const page = Math.max(1, Math.floor(list.clientHeight / ROW) - 1);
  const act = { j: () => move(1), k: () => move(-1), ArrowDown: () => move(1), ArrowUp: () => move(-1), PageDown: () => pick(shown[Math.min(shown.length - 1, shown.indexOf(picked) + page)] || null), PageUp: () => pick(shown[Math.max(0, shown.indexOf(picked) - page)] || null), Home: () => pick(shown[0] || null), End: () => pick(shown[shown.length - 1] || null), "/": () => search.focus(), t: () => $("theme").click() }[event.key] || (SEVERITIES[event.key - 1] && (() => toggle(SEVERITIES[event.key - 1])));
  if (act) { event.preventDefault(); act(); }
});
list.addEventListener("scroll", rows, { passive: true });
addEventListener("resize", rows);
search.addEventListener("input", refresh);
for (const id of ["order", "confidence"]) $(id).addEventListener("change", refresh);
$("theme").addEventListener("click", () => theme(!document.documentElement.classList.contains("dark")));
theme(matchMedia("(prefers-color-scheme: dark)").matches);
tiles();
refresh();
