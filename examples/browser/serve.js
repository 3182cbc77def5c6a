// Serves dist/ on this machine only. Any other server will do that sends the two headers below:
// browsers give threads to WebAssembly only on pages that are isolated from other sites.
//
//     node serve.js [PORT]

import { createReadStream, existsSync, statSync } from "node:fs";
import { createServer } from "node:http";
import path from "node:path";
import { fileURLToPath } from "node:url";

const dist = path.join(path.dirname(fileURLToPath(import.meta.url)), "dist");
const port = Number(process.argv[2] ?? 8080);
const types = {
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript",
  ".mjs": "text/javascript",
  ".wasm": "application/wasm",
};

if (!existsSync(path.join(dist, "index.html"))) {
  console.error("error: dist/ is missing; run 'npm run build' first");
  process.exit(2);
}

const server = createServer((request, response) => {
  const name = decodeURIComponent(new URL(request.url, "http://localhost").pathname);
  const file = path.join(dist, name === "/" ? "index.html" : name);
  const found = file.startsWith(dist + path.sep) && existsSync(file) && statSync(file).isFile();
  response.writeHead(found ? 200 : 404, {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Content-Security-Policy":
      "default-src 'self'; script-src 'self' 'wasm-unsafe-eval' blob:; worker-src 'self' blob:;" +
      " img-src 'self' blob: data:; style-src 'self' 'unsafe-inline'",
    "Content-Type": (found && types[path.extname(file)]) || "application/octet-stream",
  });
  if (found) createReadStream(file).pipe(response);
  else response.end("not found");
});

server.on("error", (error) => {
  console.error(`error: cannot serve on port ${port}: ${error.message}`);
  process.exit(2);
});
server.listen(port, "127.0.0.1", () => {
  console.log(`http://localhost:${server.address().port}/`);
});
