// Runs the model away from the page, so that the page stays responsive.
//
// The first message is {device}; the answer is {ready: {device, threads}}. Each further message is
// {number, file, rgba, width, height}; the answer is {number, faces, milliseconds}, or {number, error}.

import { FaceFinder } from "./faces.js";

const finders = new Map();
let ort;
let device;

async function start(wanted) {
  const gpu = wanted !== "wasm" && (await navigator.gpu?.requestAdapter().catch(() => null));
  if (wanted === "webgpu" && !gpu) throw new Error("this browser offers no WebGPU here");
  // On a CPU this graph of many small steps is faster; WebGPU only if the address asks for it.
  device = wanted === "webgpu" ? "webgpu" : "wasm";
  ort = await (device === "webgpu" ? import("onnxruntime-web/webgpu") : import("onnxruntime-web/wasm"));
  ort.env.wasm.wasmPaths = new URL("./", self.location.href).href;
  ort.env.wasm.numThreads = self.crossOriginIsolated ? Math.min(4, navigator.hardwareConcurrency) : 1;
  return { device, threads: ort.env.wasm.numThreads };
}

/** The finder of a model file, opened when it is first needed. */
function finder(file) {
  if (!finders.has(file)) {
    const opened = ort.InferenceSession.create(new URL(file, self.location.href).href, {
      executionProviders: device === "webgpu" ? ["webgpu", "wasm"] : ["wasm"],
      logSeverityLevel: 3,
    });
    finders.set(file, opened.then((session) => new FaceFinder(ort, session)));
  }
  return finders.get(file);
}

self.onmessage = async ({ data }) => {
  const { number } = data;
  try {
    if (data.device) {
      self.postMessage({ ready: await start(data.device) });
      return;
    }
    const found = await finder(data.file);
    const begin = performance.now();
    const faces = await found.find(data.rgba, data.width, data.height);
    self.postMessage({ number, faces, milliseconds: performance.now() - begin });
  } catch (error) {
    self.postMessage({ number, error: error.message ?? String(error) });
  }
};
