"use strict";
// Everything that came from an application is put into the page as text, never as markup.
let leaks = JSON.parse(document.getElementById("data").textContent);
const SEVERITIES = ["critical", "high", "low", "note"], ROW = 60, SVG = "http://www.w3.org/2000/svg";
const on = new Set(!leaks.length || leaks.some((l) => l.severity !== "note") ? ["critical", "high", "low"] : SEVERITIES);
const $ = (id) => document.getElementById(id);
const list = $("list"), space = $("space"), detail = $("detail"), search = $("search"), live = document.body.dataset.live;
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
const number = (n) => n.toLocaleString();
const short = (text, n) => (text.length > n ? text.slice(0, n - 1) + "…" : text);
const when = (t) => new Date(t * 1000).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "medium" });
const place = (l) => (l.location ? `${l.location.file}:${l.location.line} in ${l.location.function}` : "line not known");
const long = (s) => (s < 1 ? `${(s * 1000).toPrecision(3).replace(/\.0+$/, "")} ms` : s < 120 ? `${s.toFixed(1)} s` : s < 7200 ? `${Math.round(s / 60)} min` : s < 172800 ? `${Math.round(s / 3600)} h` : `${Math.round(s / 86400)} days`);
const ago = (t) => { const s = Date.now() / 1000 - t; return s < 5 ? "now" : `${s < 60 ? `${Math.round(s)} s` : long(Math.max(s, 120))} ago`; };
const named = (r) => `${r.method} ${r.path}`.trim();

function prepare(leak) {
  const requests = leak.lanes.map((r) => `${named(r)} ${r.id}`).join(" ");
  leak.text = [leak.path, leak.kind, leak.id, place(leak), leak.location ? leak.location.source : "", requests].join(" ").toLowerCase();
}
leaks.forEach(prepare);
const ORDERS = {
  severity: (a, b) => SEVERITIES.indexOf(a.severity) - SEVERITIES.indexOf(b.severity) || b.count - a.count,
  count: (a, b) => b.count - a.count, last: (a, b) => b.last - a.last, first: (a, b) => a.first - b.first,
  path: (a, b) => (a.path < b.path ? -1 : a.path > b.path ? 1 : 0),
};

function refresh(stay) {
  const words = search.value.toLowerCase().split(/\s+/).filter(Boolean), sure = $("confidence").value;
  shown = leaks.filter((l) => on.has(l.severity) && (!sure || l.confidence === sure) && words.every((w) => l.text.includes(w)));
  shown.sort(ORDERS[$("order").value]);
  space.style.height = `${shown.length * ROW}px`;
  $("shown").textContent = `${number(shown.length)} of ${number(leaks.length)} distinct leaks`;
  if (stay !== true) list.scrollTop = 0;
  pick(shown.includes(picked) ? picked : shown[0] || null, stay === true);
}
function title(path) {
  // The module dim, the name in it strong: what differs between two rows is what the eye should meet.
  const cut = path.search(/\.[^.[(<]*(?:$|[[(<])/), at = cut < 0 ? 0 : cut + 1;
  return [el("i", "", path.slice(0, at)), el("b", "", path.slice(at))];
}
function rows() {
  const from = Math.max(0, Math.floor(list.scrollTop / ROW) - 4);
  const to = Math.min(shown.length, Math.ceil((list.scrollTop + list.clientHeight) / ROW) + 4);
  space.replaceChildren(...shown.slice(from, to).map((leak, i) => {
    const row = el("div", `row ${leak.severity}${leak === picked ? " picked" : ""}${leak.fresh ? " new" : ""}`,
      el("div", "", el("span", "mono", ...title(leak.path)), el("span", "times", `${number(leak.count)}×`)),
      el("div", "", el("span", "where", `${leak.kind} · ${place(leak)}`), el("span", "ago", ago(leak.last)), el("span", "sev", leak.severity)));
    row.style.top = `${(from + i) * ROW}px`;
    row.setAttribute("role", "option");
    row.setAttribute("aria-selected", String(leak === picked));
    row.addEventListener("click", () => pick(leak));
    return row;
  }));
  if (!shown.length) space.replaceChildren(el("p", "empty", el("b", "", leaks.length ? "No leak matches." : "No shared state was changed."), leaks.length ? "Change the search or the filters." : live ? "This page fills by itself." : ""));
}
function pick(leak, stay) {
  const same = stay && leak && picked && leak.id === picked.id;
  picked = leak;
  const i = shown.indexOf(leak);
  if (i >= 0 && !stay) {
    if (i * ROW < list.scrollTop) list.scrollTop = i * ROW;
    if ((i + 1) * ROW > list.scrollTop + list.clientHeight) list.scrollTop = (i + 1) * ROW - list.clientHeight;
  }
  rows();
  if (same && leak === detail.leak) return;
  const scroll = same ? detail.scrollTop : 0;
  detail.leak = leak;
  detail.replaceChildren(...(leak ? describe(leak) : [el("p", "empty", el("b", "", leaks.length ? "Nothing to show" : "All quiet"), leaks.length ? "Change the filter." : "No request has changed what others share.")]));
  detail.className = leak ? leak.severity : "";
  detail.scrollTop = scroll;
}
function fact(value, name, hint) {
  const made = el("div", "", el("b", "", value), el("span", "", name));
  if (hint) made.title = hint;
  return made;
}
function coded(text) {
  return text.split(/`([^`]+)`/).map((part, i) => (i % 2 ? el("code", "", part) : part));
}
function copied(text, className) {
  const box = el("div", `fix ${className || ""}`, el("span", "", ...coded(text))), button = el("button", "", "Copy");
  button.type = "button";
  button.addEventListener("click", async () => {
    try { await navigator.clipboard.writeText(text); button.textContent = "Copied"; }
    catch { getSelection().selectAllChildren(box.firstChild); button.textContent = "Selected"; }
  });
  box.append(button);
  return box;
}
function source(l) {
  const made = el("pre", ""), calls = l.calls.length ? l.calls : [[l.file, l.line, l.function, l.source.trim()]];
  let file = null;
  calls.forEach(([path, line, name, text], i) => {
    if (path !== file) made.append(el("span", "file", (file = path)));
    const writes = i === calls.length - 1;
    made.append(el("span", `at ${writes ? "write" : "call"}`, el("span", "ln", String(line)), (writes ? text || l.source.trim() : text) || `in ${name}`));
  });
  return made;
}
function describe(leak) {
  const badges = el("div", "", el("span", "badge solid", leak.severity), el("span", "badge", leak.confidence), el("span", "badge", "leak ", el("span", "mono", leak.id)));
  if (leak.contained) badges.append(el("span", `badge${leak.contained.startsWith("put back") ? " ok" : ""}`, leak.contained.startsWith("put back") ? "put back" : "not put back"));
  const parts = [badges, el("h2", "mono", leak.path), el("p", "says", `${leak.kind}: ${leak.before} → ${leak.after}`), el("p", "soft", `${leak.reason}.`),
    el("div", "facts", fact(number(leak.count), "times"), fact(number(leak.processes), leak.processes === 1 ? "process" : "processes"), fact(ago(leak.first), "first seen", when(leak.first)), fact(ago(leak.last), "last seen", when(leak.last)))];
  parts.push(el("h3", "", "Where"));
  if (leak.location) {
    const l = leak.location;
    parts.push(source(l));
    if (l.via) parts.push(el("p", "soft", `written by ${l.via}`));
  } else parts.push(el("p", "soft", "The line is not known yet. It is traced in watched modules, from the second occurrence on; locate=\"always\" finds it at the first."));
  if (leak.fix) parts.push(el("h3", "", "Fix for this line"), copied(leak.fix));
  parts.push(el("h3", "", `One occurrence, ${when(leak.time)}`), swimlane(leak), legend(leak), el("p", "soft", aside(leak)));
  parts.push(el("h3", "", "Or, if it is meant"), copied(`allow = ["${leak.root}  # why it is meant"]`, "plain"));
  return parts;
}
function aside(leak) {
  const until = leak.contained ? `The guard's own restore: ${leak.contained}.` : leak.restored ? "It was put back later in the same request: only requests that overlap it could read it." : "It stays until something overwrites it or the process ends: every later request can read it.";
  const about = leak.suspects_exact ? "" : "about ", all = leak.suspects_exact && leak.suspects_drawn >= leak.suspects;
  const others = leak.suspects && !all ? ` It was one of ${about}${number(leak.suspects)} requests; ${number(leak.suspects_drawn)} of them are drawn, the guilty one may be another.` : "";
  const more = leak.more ? ` ${number(leak.more)} more requests were in flight.` : "";
  return `${until}${others}${more}${leak.after_response ? " It was written after the response had been sent." : ""}`;
}
function legend(leak) {
  const has = (role) => leak.lanes.some((r) => r.role === role), made = el("p", "legend");
  const add = (mark, text) => made.append(el("span", "", el("i", mark), text));
  if (has("guilty")) add("g", "wrote it");
  if (has("suspect")) add("s", "may have written it");
  if (has("reader")) add("r", "in flight");
  if (has("reader") || has("suspect")) add("h", "could read it");
  return made;
}
function step(span) {
  const rough = span / 8, power = 10 ** Math.floor(Math.log10(rough));
  return [1, 2, 5, 10].map((n) => n * power).find((n) => n >= rough);
}
function swimlane(leak) {
  const W = 860, LEFT = 236, RIGHT = 14, TOP = 36, H = 26, lanes = leak.lanes, later = leak.restored || leak.contained.startsWith("put back") ? 0 : 1;
  const bottom = TOP + (lanes.length + later) * H, height = bottom + 30;
  const svg = draw("svg", { viewBox: `0 0 ${W} ${height}`, role: "img", "aria-label": `Swimlane: ${lanes.length} requests around the write at ${leak.path}` });
  const defs = draw("defs", {}), hatch = draw("pattern", { id: "risk", width: 7, height: 7, patternUnits: "userSpaceOnUse", patternTransform: "rotate(45)" });
  hatch.append(draw("rect", { width: 7, height: 7, fill: "none" }), draw("line", { x1: 0, x2: 0, y1: 0, y2: 7, class: "hatch" }));
  defs.append(hatch);
  svg.append(defs);
  const start = Math.min(leak.time, ...lanes.map((r) => r.started)), before = Math.max(leak.time - start, 0.0005);
  const last = Math.max(leak.time, ...lanes.map((r) => r.ended || 0)), end = Math.max(last + (last - start) * 0.04, leak.time + before * 0.35);
  const x = (t) => LEFT + ((t - start) / (end - start)) * (W - LEFT - RIGHT), now = x(leak.time), edge = W - RIGHT;
  const tick = step(end - start);
  for (let t = -Math.floor(before / tick) * tick; leak.time + t < end; t += tick) {
    const at = x(leak.time + t);
    svg.append(draw("line", { x1: at, x2: at, y1: TOP - 4, y2: bottom, class: "grid" }));
    svg.append(draw("text", { x: at, y: height - 11, "text-anchor": "middle", class: "dim" }, Math.abs(t) < tick / 2 ? "0" : `${t < 0 ? "−" : "+"}${long(Math.abs(t))}`));
  }
  lanes.forEach((r, i) => {
    const y = TOP + i * H, from = x(Math.min(r.started, leak.time)), to = r.ended ? Math.max(now, x(r.ended)) : edge, h = H - 10;
    if (i % 2) svg.append(draw("rect", { x: 0, y, width: W, height: H, class: "zebra" }));
    const label = draw("text", { x: 14, y: y + 17 }, short(named(r), 29));
    svg.append(label);
    const group = draw("g", {}), bar = { y: y + 5, height: h, rx: 4 };
    group.append(draw("title", {}, `${named(r)} (request ${r.id}), ${r.role}; began ${long(leak.time - r.started)} before the write${r.ended ? `, ended ${long(Math.max(0, r.ended - leak.time))} after it` : ""}`));
    if (r.role === "guilty") {
      group.append(draw("rect", { ...bar, x: from, width: Math.max(3, to - from), class: `lane guilty` }));
      if (now - from > 66) group.append(draw("text", { x: now - 10, y: y + 17, "text-anchor": "end", class: "on" }, "wrote it"));
    } else {
      group.append(draw("rect", { ...bar, x: from, width: Math.max(3, now - from), class: `lane ${r.role}` }));
      group.append(draw("rect", { ...bar, x: now, width: Math.max(3, to - now), class: "risk" }), draw("rect", { ...bar, x: now, width: Math.max(3, to - now), class: "edge" }));
      if (r.ended) group.append(draw("text", { x: to + 6 > edge - 60 ? to - 6 : to + 6, y: y + 17, "text-anchor": to + 6 > edge - 60 ? "end" : "start", class: "dim halo" }, long(Math.max(0, r.ended - leak.time))));
    }
    svg.append(group);
  });
  if (later) {
    const y = TOP + lanes.length * H;
    svg.append(draw("text", { x: 14, y: y + 17, class: "dim" }, "every later request"));
    svg.append(draw("path", { d: `M${now} ${y + 13}H${edge - 2}m-7 -5l7 5l-7 5`, class: "arrow" }));
  }
  svg.append(draw("line", { x1: now, x2: now, y1: 24, y2: bottom, class: "moment" }));
  const guilty = lanes.findIndex((r) => r.role === "guilty");
  if (guilty >= 0) svg.append(draw("circle", { cx: now, cy: TOP + guilty * H + H / 2, r: 6, class: "dot" }));
  const middle = now < W - 90 ? "middle" : "end";
  svg.append(draw("text", { x: now, y: 17, "text-anchor": middle, class: "told" }, guilty >= 0 ? `write: ${leak.kind}` : `noticed: ${leak.kind}`));
  return svg;
}
function tiles() {
  $("tiles").replaceChildren(...SEVERITIES.map((name, i) => {
    const tile = el("button", `tile ${name}`, el("b", "", number(leaks.filter((l) => l.severity === name).length)), el("span", "", name), el("kbd", "", String(i + 1)));
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

// The live page: what has changed since the version it has, every two seconds, while somebody looks.
let version = "";
async function more() {
  const pulse = $("pulse");
  try {
    const answer = await fetch(`${live}?since=${encodeURIComponent(version)}`, { cache: "no-store", credentials: "same-origin" });
    if (answer.status === 401) { location.reload(); return; }
    if (!answer.ok) throw new Error(String(answer.status));
    const news = await answer.json();
    if (news.whole) leaks = [];
    if (news.leaks.length || news.whole) take(news.leaks);
    version = news.version;
    $("subtitle").textContent = news.subtitle;
    pulse.className = "";
    pulse.textContent = "live";
  } catch { pulse.className = "lost"; pulse.textContent = "no answer, trying again"; }
}
function take(news) {
  const at = new Map(leaks.map((l, i) => [l.id, i]));
  for (const leak of news) {
    prepare(leak);
    leak.fresh = version !== "";
    if (at.has(leak.id)) leaks[at.get(leak.id)] = leak;
    else { at.set(leak.id, leaks.length); leaks.push(leak); }
  }
  if (picked) picked = leaks[at.get(picked.id)] || null;
  tiles();
  refresh(true);
  for (const leak of news) leak.fresh = false;
}
async function watch() {
  for (;;) {
    if (!document.hidden) await more();
    await new Promise((done) => { setTimeout(done, 2000); });
  }
}
if (live) watch();
