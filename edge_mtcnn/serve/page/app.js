// The page of the service: draws what /events reports. It loads no other script.
"use strict";

const $ = (id) => document.getElementById(id);
const WINDOW_SECONDS = 180;
const SILENT_SECONDS = 4;

const view = {
  state: null, // the newest state
  receivedAt: 0, // when it came, milliseconds
  mirrored: false,
  photo: null, // { url, width, height, faces }
  message: "", // about the photo
  intervals: [], // who was here and when: { person, from, to }
  gaps: [], // times when nothing could be seen: { kind, from, to }
};

let source = null;
let marked = null; // number of the person whom the dialog asks about

// ---- connection to the service

async function connect() {
  let answer;
  try {
    answer = await fetch("state");
  } catch {
    offline("The service does not answer");
    setTimeout(connect, 2000);
    return;
  }
  if (answer.status === 401) {
    $("login").showModal();
    return;
  }
  if (!answer.ok) {
    offline((await answer.json()).error);
    setTimeout(connect, 2000);
    return;
  }
  update(await answer.json());
  if (view.state.state === "off") {
    setTimeout(connect, 2000); // without a source, only the health can change
    return;
  }
  listen();
}

function listen() {
  if (source) source.close();
  clearHistory();
  source = new EventSource("events?after=0&live=1");
  source.onerror = () => {
    if (source.readyState === EventSource.CLOSED) {
      setTimeout(connect, 2000);
    }
  };
  source.addEventListener("hello", (message) => {
    if (!JSON.parse(message.data).resumed) clearHistory();
  });
  source.addEventListener("state", (message) => update(JSON.parse(message.data)));
  for (const name of Object.keys(EVENT_TEXTS)) {
    source.addEventListener(name, (message) => addEvent(JSON.parse(message.data)));
  }
}

function clearHistory() {
  view.intervals = [];
  view.gaps = [];
  $("events").replaceChildren();
}

function update(state) {
  view.state = state;
  view.receivedAt = Date.now();
  showPicture();
  show();
}

function offline(why) {
  view.state = null;
  show(why);
}

// ---- events

const EVENT_TEXTS = {
  FaceAppeared: (event) => `Person ${event.person} is here`,
  FaceLeft: (event) =>
    `Person ${event.person} left after ${duration(event.dwell_seconds)}` +
    (event.reason === "gone" ? "" : ` (${event.reason})`),
  PersonChanged: (event) =>
    event.person === null ? "No person is selected" : `Person ${event.person} is selected`,
  RotationFound: (event) => `The picture is turned by ${event.rotation}°`,
  SourceLost: (event) => `Source lost: ${event.reason}`,
  SourceBack: (event) => `Source back after ${duration(event.lost_seconds)}`,
  ViewBlocked: (event) => `View blocked: ${event.reason}`,
  ViewCleared: (event) => `View clear again after ${duration(event.blocked_seconds)}`,
};

function addEvent(event) {
  const time = event.wall_time;
  if (event.event === "FaceAppeared") {
    view.intervals.push({ person: event.person, from: time, to: null });
  } else if (event.event === "FaceLeft") {
    const here = view.intervals.find((one) => one.person === event.person && one.to === null);
    if (here) here.to = Math.max(here.from, Math.min(time, here.from + event.dwell_seconds));
  } else if (event.event === "SourceLost" || event.event === "ViewBlocked") {
    view.gaps.push({ kind: event.event, from: time, to: null });
  } else if (event.event === "SourceBack" || event.event === "ViewCleared") {
    const kind = event.event === "SourceBack" ? "SourceLost" : "ViewBlocked";
    const gap = view.gaps.find((one) => one.kind === kind && one.to === null);
    if (gap) gap.to = time;
  }
  const old = Date.now() / 1000 - 2 * WINDOW_SECONDS;
  view.intervals = view.intervals.filter((one) => one.to === null || one.to > old);
  view.gaps = view.gaps.filter((one) => one.to === null || one.to > old);
  const line = document.createElement("li");
  const clock = new Date(time * 1000).toLocaleTimeString();
  line.textContent = `${clock}  ${EVENT_TEXTS[event.event](event)}`;
  $("events").prepend(line);
  while ($("events").children.length > 100) $("events").lastChild.remove();
}

// ---- texts

const ANSWERS = { someone: "Someone is here", nobody: "Nobody is here", unknown: "Unknown" };
const REASONS = {
  off: "No camera or video is watched. Search a photo instead.",
  starting: "Waiting for the first frame",
  lost: "The source delivers no frames",
  blind: "The view is blocked",
  ended: "The video has ended",
  stopped: "Watching was stopped",
  failed: "Watching failed",
};
const HEALTH = { ok: "Working", degraded: "Limited", failing: "Needs a restart" };

function show(why) {
  const state = view.state;
  const answer = state ? state.answer : "unknown";
  $("who").dataset.answer = answer;
  setText($("answer"), ANSWERS[answer]);
  setText($("reason"), state ? reasonOf(state) : why || "The service does not answer");
  const level = state ? state.health : "off";
  $("health").dataset.level = level;
  setText($("health-text"), state ? HEALTH[level] : "Offline");
  showPersons(state ? state.persons : []);
  $("known").hidden = !(state && state.marking);
  $("turn").hidden = !state || state.rotation.state === "fixed";
  showRates(state);
  showNotice();
  draw();
}

function showNotice() {
  const state = view.state;
  const lost = state && ["lost", "blind", "failed"].includes(state.state);
  // The picture is then the last frame before the source was lost.
  $("stage").classList.toggle("old", Boolean(lost) && !view.photo);
  const text = view.message || (lost ? REASONS[state.state] : "");
  setText($("notice"), text);
  $("notice").hidden = !text;
  const off = state && state.state !== "off" && !state.stream && !view.photo;
  $("hint").hidden = !off || Boolean(text);
}

function reasonOf(state) {
  const why = state.state === "blind" ? state.blind_reason : state.source.error;
  const reason = REASONS[state.state];
  if (state.state === "watching" && state.rotation.state === "looking") {
    return "Looking for faces, to find out how the picture must be turned";
  }
  if (!reason) return "";
  return why && state.state !== "off" ? `${reason}: ${why}` : reason;
}

function showPersons(list) {
  const shown = list.slice(0, 6);
  // Items stay, so that a button that is pressed or has the focus is not replaced.
  const old = new Map([...$("persons").children].map((item) => [item.dataset.person, item]));
  const items = shown.map((person) => old.get(String(person.person)) || personItem(person.person));
  items.forEach((item, index) => {
    const person = shown[index];
    item.className = (person.selected ? "selected " : "") + (person.seen ? "" : "unseen");
    const [name, time] = item.firstChild.children;
    setText(name, `Person ${person.person}`);
    setText(time, (person.selected ? "selected · " : "") + duration(person.dwell_seconds));
    item.lastChild.hidden = !view.state.marking;
  });
  if (list.length > items.length) {
    const item = document.createElement("li");
    item.textContent = `and ${list.length - items.length} more`;
    items.push(item);
  }
  const present = $("persons").children;
  if (items.length !== present.length || items.some((item, index) => item !== present[index])) {
    $("persons").replaceChildren(...items);
  }
}

function personItem(number) {
  const item = document.createElement("li");
  item.dataset.person = number;
  const texts = document.createElement("span");
  texts.append(document.createElement("span"), document.createElement("span"));
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = "Not a person";
  button.setAttribute("aria-label", `Person ${number} is not a person`);
  button.addEventListener("click", () => askToMark(number));
  item.append(texts, button);
  return item;
}

function showRates(state) {
  const rows = [];
  if (state) {
    const { rates: numbers, device } = state;
    if (state.state !== "off") {
      rows.push(["Frames per second", numbers.fps.toFixed(1)]);
      rows.push(["Time per frame", `${numbers.latency_ms.toFixed(1)} ms`]);
      rows.push(["Dropped", numbers.dropped.toLocaleString("en")]);
      rows.push(["Reconnects", numbers.reconnects.toLocaleString("en")]);
      if (state.rotation.degrees) rows.push(["Turned by", `${state.rotation.degrees}°`]);
    }
    if (device.memory_mb !== null) rows.push(["Memory", `${Math.round(device.memory_mb)} MB`]);
    if (device.temperature_celsius !== null) {
      rows.push(["Temperature", `${device.temperature_celsius.toFixed(0)} °C`]);
    }
    for (const limit of device.limits) rows.push(["Slowed down", limit]);
  }
  const cells = rows.flatMap(([name, value]) => {
    const term = document.createElement("dt");
    const detail = document.createElement("dd");
    term.textContent = name;
    detail.textContent = value;
    return [term, detail];
  });
  $("rates").replaceChildren(...cells);
}

function setText(element, text) {
  if (element.textContent !== text) element.textContent = text; // or screen readers repeat it
}

function duration(seconds) {
  const whole = Math.floor(Math.max(seconds, 0));
  if (whole < 60) return `${whole} s`;
  const minutes = Math.floor(whole / 60);
  if (minutes < 60) return `${minutes} min ${String(whole % 60).padStart(2, "0")} s`;
  return `${Math.floor(minutes / 60)} h ${String(minutes % 60).padStart(2, "0")} min`;
}

// ---- pictures

function showPicture() {
  const image = $("picture");
  let wanted = "";
  if (view.photo) wanted = view.photo.url;
  else if (view.state && view.state.stream) wanted = "stream?boxes=0";
  if ((image.getAttribute("src") || "") !== wanted) {
    if (wanted) image.src = wanted;
    else image.removeAttribute("src");
  }
  image.hidden = !wanted;
  $("stage").classList.toggle("mirrored", view.mirrored && !view.photo);
}

$("picture").addEventListener("error", () => {
  $("picture").removeAttribute("src"); // the next state requests it again
});

function prepare(canvas) {
  const scale = window.devicePixelRatio || 1;
  const width = canvas.clientWidth;
  const height = canvas.clientHeight;
  if (canvas.width !== Math.round(width * scale) || canvas.height !== Math.round(height * scale)) {
    canvas.width = Math.round(width * scale);
    canvas.height = Math.round(height * scale);
  }
  const pen = canvas.getContext("2d");
  pen.setTransform(scale, 0, 0, scale, 0, 0);
  pen.clearRect(0, 0, width, height);
  return { pen, width, height };
}

function color(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}

function draw() {
  const { pen, width, height } = prepare($("overlay"));
  const shown = view.photo || view.state;
  const faces = shown ? shown.faces : [];
  setLabel($("overlay"), faces.length === 1 ? "1 face" : `${faces.length} faces`);
  if (!shown || !shown.width) return;
  const scale = Math.min(width / shown.width, height / shown.height);
  const left = (width - shown.width * scale) / 2;
  const top = (height - shown.height * scale) / 2;
  const flip = view.mirrored && !view.photo;
  const across = (x) => left + (flip ? shown.width - x : x) * scale;
  const down = (y) => top + y * scale;
  if ($("picture").hidden) {
    pen.strokeStyle = color("line");
    pen.strokeRect(left + 0.5, top + 0.5, shown.width * scale - 1, shown.height * scale - 1);
  }
  const byTrack = new Map((shown.persons || []).map((person) => [person.track, person]));
  for (const face of faces) {
    const person = byTrack.get(face.track);
    const selected = view.photo || (person && person.selected);
    const ink = face.seen === false ? color("unknown") : color(selected ? "here" : "other");
    const [x, y, wide, high] = face.box;
    const x1 = Math.min(across(x), across(x + wide));
    const box = [x1, down(y), wide * scale, high * scale];
    const over = !$("picture").hidden; // on a picture, a dark outline keeps every colour visible
    pen.lineWidth = 4.5;
    pen.strokeStyle = "rgb(0 0 0 / 55%)";
    if (over) pen.strokeRect(...box);
    pen.lineWidth = 2.5;
    pen.strokeStyle = ink;
    pen.strokeRect(...box);
    const radius = Math.max(1.5, Math.min(4, (wide * scale) / 30));
    for (const [px, py] of Object.values(face.keypoints)) {
      pen.beginPath();
      pen.arc(across(px), down(py), radius + 1, 0, 2 * Math.PI);
      pen.fillStyle = "rgb(0 0 0 / 55%)";
      if (over) pen.fill();
      pen.beginPath();
      pen.arc(across(px), down(py), radius, 0, 2 * Math.PI);
      pen.fillStyle = ink;
      pen.fill();
    }
    const text = person
      ? `${person.person} · ${duration(person.dwell_seconds)}`
      : (Math.floor((face.score ?? face.confidence) * 1000) / 1000).toFixed(3);
    drawLabel(pen, text, box, width, ink);
  }
}

function drawLabel(pen, text, [x, y, wide], width, ink) {
  pen.font = "600 13px system-ui, sans-serif";
  const across = pen.measureText(text).width + 10;
  const left = Math.min(Math.max(x - 1, 0), width - across);
  const top = y >= 22 ? y - 22 : y + 2;
  pen.fillStyle = color("card");
  pen.fillRect(left, top, across, 20);
  pen.fillStyle = ink;
  pen.fillRect(left, top, 3, 20);
  pen.fillStyle = color("ink");
  pen.textBaseline = "middle";
  pen.fillText(text, left + 7, top + 10.5);
}

function setLabel(element, text) {
  if (element.getAttribute("aria-label") !== text) element.setAttribute("aria-label", text);
}

function drawTimeline() {
  const { pen, width, height } = prepare($("timeline"));
  const now = Date.now() / 1000;
  const start = now - WINDOW_SECONDS;
  const at = (time) => ((Math.min(Math.max(time, start), now) - start) / WINDOW_SECONDS) * width;
  const axis = height - 16;
  pen.font = "12px system-ui, sans-serif";
  pen.textBaseline = "alphabetic";
  const gaps = view.gaps.filter((one) => (one.to ?? now) > start);
  pen.fillStyle = color("unknown");
  pen.globalAlpha = 0.45;
  for (const gap of gaps) pen.fillRect(at(gap.from), 0, at(gap.to ?? now) - at(gap.from), axis);
  pen.globalAlpha = 1;
  const rows = view.intervals.filter((one) => (one.to ?? now) > start);
  const lanes = []; // each bar takes the first free lane
  const placed = rows.map((one) => {
    let lane = lanes.findIndex((end) => end <= one.from);
    if (lane < 0) lane = lanes.length;
    lanes[lane] = one.to ?? Infinity;
    return { one, lane };
  });
  const step = Math.min(18, axis / Math.max(lanes.length, 1));
  const selected = new Set(
    ((view.state && view.state.persons) || []).filter((p) => p.selected).map((p) => p.person),
  );
  for (const { one, lane } of placed) {
    const left = at(one.from);
    const wide = Math.max(at(one.to ?? now) - left, 2);
    pen.fillStyle = color(selected.has(one.person) ? "here" : "other");
    pen.fillRect(left, lane * step + 1, wide, Math.max(step - 3, 1));
    const name = String(one.person);
    if (step >= 15 && wide > pen.measureText(name).width + 8) {
      pen.fillStyle = color("card");
      pen.fillText(name, left + 4, lane * step + step - 5);
    }
  }
  pen.fillStyle = color("line");
  pen.fillRect(0, axis, width, 1);
  pen.fillStyle = color("soft");
  for (let back = 0; back <= WINDOW_SECONDS; back += 60) {
    const text = back === 0 ? "now" : `−${back / 60} min`;
    const wide = pen.measureText(text).width;
    pen.fillText(text, Math.min(Math.max(at(now - back) - wide / 2, 0), width - wide), height - 2);
  }
  setText($("window"), `in the last ${WINDOW_SECONDS / 60} minutes`);
  setLabel($("timeline"), `${rows.length} presences in the last ${WINDOW_SECONDS / 60} minutes`);
}

// ---- controls

function toggleMirror() {
  view.mirrored = !view.mirrored;
  $("mirror").setAttribute("aria-pressed", String(view.mirrored));
  showPicture();
  draw();
}

async function findRotation() {
  let result;
  try {
    result = await (await fetch("rotation", { method: "POST" })).json();
  } catch {
    result = { error: "The service does not answer." };
  }
  $("marked").textContent = result.error || "";
}

async function searchPhoto(file) {
  closePhoto();
  let result;
  try {
    const answer = await fetch("detect", { method: "POST", body: file });
    result = await answer.json();
  } catch {
    result = { error: "the service does not answer" };
  }
  if (result.error) {
    view.message = result.error;
    $("back").hidden = false;
    showNotice();
    return;
  }
  view.photo = { ...result, url: URL.createObjectURL(file) };
  const count = result.faces.length;
  view.message = count === 1 ? "1 face in the photo" : `${count} faces in the photo`;
  $("back").hidden = false;
  showNotice();
  showPicture();
  draw();
  $("back").focus();
}

function closePhoto() {
  if (view.photo) URL.revokeObjectURL(view.photo.url);
  view.photo = null;
  view.message = "";
  $("back").hidden = true;
  showNotice();
  showPicture();
  draw();
}

// ---- what is not a person

async function knownFalse(method, values = {}) {
  const query = new URLSearchParams(values);
  try {
    const answer = await fetch(query.size ? `known-false?${query}` : "known-false", { method });
    return answer.status === 204 ? {} : await answer.json();
  } catch {
    return { error: "The service does not answer." };
  }
}

async function askToMark(number) {
  marked = number;
  $("mark-title").textContent = `Person ${number} is not a person?`;
  $("mark-name").value = "";
  $("mark-error").textContent = "";
  $("mark-place").disabled = true;
  $("mark").showModal();
  const known = await knownFalse("GET");
  $("mark-error").textContent = known.error || "";
  $("mark-place").checked = Boolean(known.place);
  $("mark-place").disabled = false;
}

async function mark(submit) {
  submit.preventDefault();
  const button = submit.submitter;
  const values = { person: marked };
  if (!$("mark-place").disabled) values.place = $("mark-place").checked ? "1" : "0";
  const name = $("mark-name").value.trim();
  if (name) values.name = name;
  button.disabled = true;
  $("mark-error").textContent = "";
  const answer = await knownFalse("POST", values);
  button.disabled = false;
  if (answer.error) {
    $("mark-error").textContent = answer.error;
    return;
  }
  $("mark").close();
  $("marked").textContent = `“${answer.name}” is left out from now on. Undo it under Known things.`;
  $("known").focus(); // the button of that person is gone
}

const WAYS = {
  "add-false": "added with calibrate",
  remember: "remembered by calibrate",
  page: "marked here",
};

async function showThings() {
  const known = await knownFalse("GET");
  $("things-error").textContent = known.error || "";
  const things = known.known_false || [];
  const loss = known.expected_loss ? Math.round(1 / known.expected_loss).toLocaleString("en") : "";
  $("things-about").textContent = loss
    ? `They are left out, and with them, by mistake, about 1 in ${loss} real faces.`
    : known.error ? "" : "Nothing has been marked as not a person.";
  $("things-list").replaceChildren(...things.map(thingItem));
  if (!$("things").open) $("things").showModal();
}

function thingItem(thing) {
  const item = document.createElement("li");
  const texts = document.createElement("span");
  const name = document.createElement("span");
  const about = document.createElement("span");
  name.textContent = thing.name;
  about.className = "small";
  const time = /T/.test(thing.added) ? new Date(thing.added).toLocaleString() : thing.added;
  const place = thing.place ? "only at its place" : "anywhere";
  about.textContent = [WAYS[thing.how], time, place].filter(Boolean).join(" · ");
  texts.append(name, about);
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = "Undo";
  button.setAttribute("aria-label", `Undo: find “${thing.name}” again`);
  button.addEventListener("click", () => forget(thing.name));
  item.append(texts, button);
  return item;
}

async function forget(name) {
  const answer = await knownFalse("DELETE", { name });
  await showThings();
  $("things-close").focus(); // the button is gone
  if (answer.error) $("things-error").textContent = answer.error;
  else $("marked").textContent = `“${name}” is found again.`;
}

async function sendToken(submit) {
  submit.preventDefault();
  const answer = await fetch("session", {
    method: "POST",
    headers: { Authorization: `Bearer ${$("token").value}` },
  }).catch(() => null);
  if (answer && answer.ok) {
    $("token").value = "";
    $("login-error").textContent = "";
    $("login").close();
    connect();
  } else {
    $("login-error").textContent = answer ? "The token is wrong." : "The service does not answer.";
    $("token").focus();
  }
}

$("mirror").addEventListener("click", toggleMirror);
$("photo").addEventListener("click", () => $("file").click());
$("back").addEventListener("click", closePhoto);
$("mark-form").addEventListener("submit", mark);
$("mark-cancel").addEventListener("click", () => $("mark").close());
$("known").addEventListener("click", showThings);
$("turn").addEventListener("click", findRotation);
$("things-close").addEventListener("click", () => $("things").close());
$("login-form").addEventListener("submit", sendToken);
$("login").addEventListener("cancel", (event) => event.preventDefault());
$("file").addEventListener("change", () => {
  const [file] = $("file").files;
  $("file").value = "";
  if (file) searchPhoto(file);
});
document.addEventListener("keydown", (event) => {
  if (event.target.closest("input, dialog") || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "m") toggleMirror();
  if (event.key === "p") $("file").click();
  if (event.key === "k" && !$("known").hidden) showThings();
  if (event.key === "r" && !$("turn").hidden) findRotation();
  if (event.key === "Escape") closePhoto();
});
window.addEventListener("resize", () => {
  draw();
  drawTimeline();
});
setInterval(() => {
  const silent = Date.now() - view.receivedAt > SILENT_SECONDS * 1000;
  if (view.state && silent && source && source.readyState !== EventSource.OPEN) offline();
  drawTimeline();
}, 500);

connect();
