// Runs the model away from the page, so that the page stays responsive.
//
// The first message is {device}; the answer is {ready: {device, threads}}. Each further message is
// {number, file, rgba, width, height}; the answer is {number, faces, milliseconds}, or {number, error}.
// {notice} may come at any time.

import { FaceFinder } from "./faces.js";

const finders = new Map();
let ort;
let device;

async function start(wanted) {
  // On a CPU this graph of many small steps is faster; WebGPU only if the address asks for it.
  const gpu = wanted === "webgpu" && (await navigator.gpu?.requestAdapter().catch(() => null));
  if (wanted === "webgpu" && !gpu) throw new Error("this browser offers no WebGPU here");
  device = gpu ? "webgpu" : "wasm";
  ort = await (gpu ? import("onnxruntime-web/webgpu") : import("onnxruntime-web/wasm"));
  ort.env.wasm.wasmPaths = new URL("./", self.location.href).href;
  ort.env.wasm.numThreads = self.crossOriginIsolated ? Math.min(4, navigator.hardwareConcurrency) : 1;
  return { device, threads: ort.env.wasm.numThreads };
}

async function open(file, runtime, providers) {
  const url = new URL(file, self.location.href).href;
  const options = { executionProviders: providers, logSeverityLevel: 3 };
  return new FaceFinder(runtime, await runtime.InferenceSession.create(url, options));
}

/** The finder of a model file, opened when it is first needed. */
function finder(file) {
  if (!finders.has(file)) {
    const opened = device === "webgpu" ? openOnGpu(file) : open(file, ort, ["wasm"]);
    finders.set(file, opened);
  }
  return finders.get(file);
}

/** Where WebGPU cannot take the graph, WebAssembly does. */
async function openOnGpu(file) {
  try {
    return await open(file, ort, ["webgpu", "wasm"]);
  } catch (error) {
    self.postMessage({ notice: `WebGPU cannot run this file, so WebAssembly does: ${error.message}` });
    await start("wasm");
    return open(file, ort, ["wasm"]);
  }
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
