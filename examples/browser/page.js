// The page: a camera or a photo, what is found in it, and who is present.

import { Presence } from "./presence.js";

const CAMERA = { file: "mtcnn-kiosk-640x480.onnx", width: 640, height: 480 };
const PHOTO_FILE = "mtcnn-default.onnx";
const FRAMES_OF_A_MEAN = 30;

const canvas = document.querySelector("canvas");
const context = canvas.getContext("2d");
// What the model sees; the page shows it together with the faces.
const picture = document.createElement("canvas");
const pictureContext = picture.getContext("2d", { willReadFrequently: true });
const video = document.querySelector("video");
const status = document.querySelector("#status");
const persons = document.querySelector("#persons");
const log = document.querySelector("#events");
const cameraButton = document.querySelector("#camera");
const device = new URLSearchParams(location.search).get("device") ?? "wasm";

const worker = new Worker(new URL("worker.js", import.meta.url), { type: "module" });
const waiting = new Map();
let number = 0;
let stream = null;

worker.onmessage = ({ data }) => {
  if (data.notice) {
    document.querySelector("#runtime").textContent = data.notice;
    return;
  }
  const { resolve, reject } = waiting.get(data.number ?? 0);
  waiting.delete(data.number ?? 0);
  if (data.error) reject(new Error(data.error));
  else resolve(data);
};
worker.onerror = (event) => say(`The worker failed: ${event.message}`);

function ask(message, transfer = []) {
  return new Promise((resolve, reject) => {
    waiting.set(message.number ?? 0, { resolve, reject });
    worker.postMessage(message, transfer);
  });
}

function say(text) {
  status.textContent = text;
}

/** The faces in the picture. */
async function find(file) {
  const { width, height } = picture;
  const rgba = pictureContext.getImageData(0, 0, width, height).data;
  number += 1;
  return ask({ number, file, rgba, width, height }, [rgba.buffer]);
}

/** Show the picture and its faces. */
function draw(faces) {
  if (canvas.width !== picture.width) canvas.width = picture.width;
  if (canvas.height !== picture.height) canvas.height = picture.height;
  context.drawImage(picture, 0, 0);
  const line = Math.max(2, canvas.width / 320);
  for (const { box, score, landmarks } of faces) {
    const [x1, y1, x2, y2] = box;
    context.lineWidth = line;
    context.strokeStyle = "#39ff14";
    context.strokeRect(x1, y1, x2 - x1, y2 - y1);
    context.fillStyle = "#39ff14";
    context.font = `${6 * line}px sans-serif`;
    context.fillText(score.toFixed(2), x1, Math.max(y1 - 2 * line, 6 * line));
    context.fillStyle = "#ff2d95";
    for (const [x, y] of landmarks) {
      context.beginPath();
      context.arc(x, y, 1.5 * line, 0, 2 * Math.PI);
      context.fill();
    }
  }
  // For whoever drives the page, such as its test.
  canvas.dataset.faces = JSON.stringify(faces);
}

async function showPhoto(file) {
  stopCamera();
  const image = await createImageBitmap(file);
  Object.assign(picture, { width: image.width, height: image.height });
  pictureContext.drawImage(image, 0, 0);
  draw([]);
  delete canvas.dataset.faces;
  say("Looking …");
  const { faces, milliseconds } = await find(PHOTO_FILE);
  draw(faces);
  const noun = faces.length === 1 ? "face" : "faces";
  say(`${faces.length} ${noun} in ${milliseconds.toFixed(0)} ms`);
}

async function startCamera() {
  stream = await navigator.mediaDevices.getUserMedia({
    video: { width: CAMERA.width, height: CAMERA.height },
  });
  video.srcObject = stream;
  await video.play();
  cameraButton.textContent = "Stop camera";
  Object.assign(picture, { width: CAMERA.width, height: CAMERA.height });
  log.replaceChildren();
  const presence = new Presence();
  const ends = [];
  for (const mine = stream; stream === mine; ) {
    drawFrame();
    const { faces, milliseconds } = await find(CAMERA.file);
    if (stream !== mine) return;
    draw(faces);
    const now = performance.now();
    showPersons(presence, presence.update(faces, now / 1000));
    ends.push(now);
    if (ends.length > FRAMES_OF_A_MEAN) ends.shift();
    const rate = (1000 * (ends.length - 1)) / (now - ends[0]);
    canvas.dataset.rate = rate || 0;
    canvas.dataset.milliseconds = milliseconds;
    say(`${(rate || 0).toFixed(1)} frames per second, ${milliseconds.toFixed(0)} ms for the faces`);
    await nextFrame();
  }
}

/** Resolves when the canvas has been shown, also in a hidden page. */
function nextFrame() {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, 100);
    requestAnimationFrame(() => {
      clearTimeout(timer);
      resolve();
    });
  });
}

/** The middle of the camera's frame, scaled to the size that the model takes. */
function drawFrame() {
  const scale = Math.max(picture.width / video.videoWidth, picture.height / video.videoHeight);
  const [width, height] = [video.videoWidth * scale, video.videoHeight * scale];
  const [left, top] = [(picture.width - width) / 2, (picture.height - height) / 2];
  pictureContext.drawImage(video, left, top, width, height);
}

function stopCamera() {
  for (const track of stream?.getTracks() ?? []) track.stop();
  stream = null;
  cameraButton.textContent = "Start camera";
  persons.textContent = "nobody";
}

function showPersons(presence, events) {
  const here = presence.persons;
  persons.textContent = here.length
    ? here.map(({ id, selected }) => `${selected ? "▶ " : ""}person ${id}`).join(", ")
    : "nobody";
  for (const event of events) {
    const item = document.createElement("li");
    item.textContent = told(event);
    log.prepend(item);
  }
  while (log.childElementCount > 20) log.lastElementChild.remove();
}

function told({ type, person, dwellSeconds }) {
  if (type === "face_appeared") return `Person ${person} appeared`;
  if (type === "face_left") return `Person ${person} left after ${dwellSeconds.toFixed(1)} seconds`;
  return person === null ? "No person is selected" : `Person ${person} is selected`;
}

/** Runs what a button asks for, and says in the page what went wrong. */
async function attempt(action) {
  try {
    await action();
  } catch (error) {
    stopCamera();
    say(`That did not work: ${error.message}`);
  }
}

cameraButton.onclick = () => attempt(async () => (stream ? stopCamera() : startCamera()));
document.querySelector("#photo").onchange = ({ target }) => {
  const [file] = target.files;
  if (file) attempt(() => showPhoto(file));
};

await attempt(async () => {
  const { ready } = await ask({ device });
  canvas.dataset.threads = ready.threads;
  document.querySelector("#runtime").textContent =
    `ONNX Runtime on ${ready.device === "webgpu" ? "WebGPU" : "WebAssembly"}, ${ready.threads} threads`;
  say("Ready. Start the camera, or choose a photo.");
  document.body.dataset.ready = "yes";
});
