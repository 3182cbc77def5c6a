// Bundles the page into dist/: code, ONNX Runtime and the two model files, nothing from elsewhere.
//
//     node build.js [FOLDER OF THE MODEL FILES]

import { cp, mkdir, rm } from "node:fs/promises";
import { existsSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const here = path.dirname(fileURLToPath(import.meta.url));
const models = process.argv[2] ?? path.join(here, "..", "..", "build", "single");
const dist = path.join(here, "dist");
const runtime = path.join(here, "node_modules", "onnxruntime-web", "dist");
const files = ["mtcnn-default.onnx", "mtcnn-kiosk-640x480.onnx"];

for (const file of files) {
  if (!existsSync(path.join(models, file))) {
    console.error(
      `error: ${path.join(models, file)} is missing; take it from a release, or write it with` +
        " 'python -m export single' as docs/one-file.md shows",
    );
    process.exit(2);
  }
}

await rm(dist, { recursive: true, force: true });
await mkdir(dist);
await build({
  absWorkingDir: here,
  entryPoints: ["page.js", "worker.js"],
  outdir: dist,
  bundle: true,
  splitting: true,
  conditions: ["onnxruntime-web-use-extern-wasm"], // so that its threads load files beside the page
  minify: true,
  format: "esm",
  target: "es2022",
  logLevel: "warning",
});
// The WebAssembly of ONNX Runtime: for the CPU, and for WebGPU.
for (const name of ["ort-wasm-simd-threaded", "ort-wasm-simd-threaded.asyncify"]) {
  for (const suffix of [".mjs", ".wasm"]) {
    await cp(path.join(runtime, name + suffix), path.join(dist, name + suffix));
  }
}
await cp(path.join(here, "index.html"), path.join(dist, "index.html"));
for (const file of files) await cp(path.join(models, file), path.join(dist, file));
console.log(`dist/ is ready: 'npm start' serves it`);
