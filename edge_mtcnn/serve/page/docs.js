// The interactive documentation: shows /openapi.json and sends requests. It loads no other script.
"use strict";

const $ = (id) => document.getElementById(id);
const LONGEST = 100000; // characters of an answer that are shown
let spec = null;

function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== undefined && value !== false) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

function resolved(schema) {
  return schema.$ref ? spec.components.schemas[schema.$ref.split("/").pop()] : schema;
}

// ---- what is shown

async function load() {
  const answer = await fetch("openapi.json").catch(() => null);
  if (!answer || !answer.ok) {
    $("about").textContent = "The service does not answer. Load the page again.";
    return;
  }
  spec = await answer.json();
  $("title").textContent = `${spec.info.title} ${spec.info.version}`;
  $("about").textContent = spec.info.description;
  $("login").hidden = !spec.security;
  for (const [path, methods] of Object.entries(spec.paths)) {
    for (const [method, operation] of Object.entries(methods)) {
      $("routes").append(route(path, method.toUpperCase(), operation));
    }
  }
  for (const [name, schema] of Object.entries(spec.components.schemas)) {
    $("schemas").append(
      make("details", { id: `schema-${name}` },
        make("summary", {}, make("code", {}, name), make("span", { class: "what" }, schema.description || "")),
        json(schema)),
    );
  }
  openTarget();
}

function json(value) {
  const box = make("pre", { tabindex: "0" });
  // References become links to the schemas.
  for (const part of JSON.stringify(value, null, 2).split(/("#\/components\/schemas\/\w+")/)) {
    const name = part.startsWith('"#/components/schemas/') && part.slice(1, -1).split("/").pop();
    box.append(name ? make("a", { href: `#schema-${name}` }, name) : part);
  }
  return box;
}

function route(path, method, operation) {
  const id = `${method}-${path.slice(1)}`.toLowerCase();
  const call = { path, method, operation, id, inputs: [], body: null };
  return make("details", { id },
    make("summary", {},
      make("span", { class: "method" }, method),
      make("code", {}, path),
      make("span", { class: "what" }, operation.summary)),
    make("div", { class: "inside" },
      operation.description ? make("p", {}, operation.description) : null,
      form(call),
      make("h3", {}, "Answers"),
      make("dl", {}, ...Object.entries(operation.responses).flatMap(answers))));
}

function answers([status, response]) {
  const detail = make("dd", {}, response.description);
  for (const [type, content] of Object.entries(response.content || {})) {
    const schemas = content["x-events"] || content.schema.anyOf || [content.schema];
    const names = Object.entries(schemas).map(([name, schema]) => [name, schema.$ref]);
    detail.append(make("br"), make("code", {}, type));
    for (const [name, reference] of names.filter((pair) => pair[1])) {
      const target = reference.split("/").pop();
      const label = content["x-events"] && name !== target ? `${name}: ${target}` : target;
      detail.append(" ", make("a", { href: `#schema-${target}` }, label));
    }
  }
  return [make("dt", {}, make("code", {}, status)), detail];
}

// ---- what is asked for

function field(id, name, about, input) {
  input.id = id;
  return make("div", { class: "field" },
    make("label", { for: id }, name), input, about ? make("p", {}, about) : null);
}

function form(call) {
  const { operation, id } = call;
  const element = make("form", {});
  for (const parameter of operation.parameters || []) {
    const schema = resolved(parameter.schema);
    const input = schema.enum
      ? make("select", {}, ...["", ...schema.enum].map((value) => make("option", { value }, value)))
      : make("input", {
          placeholder: parameter.example,
          inputmode: schema.type === "string" ? undefined : "decimal",
          autocomplete: "off",
        });
    call.inputs.push([parameter, input]);
    element.append(field(`${id}-${parameter.name}`, parameter.name, parameter.description, input));
  }
  if (operation.requestBody) element.append(...body(call));
  const send = make("button", { type: "submit" }, "Send");
  const stop = make("button", { type: "button", hidden: "" }, "Stop");
  const answer = make("div", { class: "answer", "aria-live": "polite" });
  element.append(make("div", { class: "buttons" }, send, stop), answer);
  element.addEventListener("submit", (submit) => {
    submit.preventDefault();
    request(call, answer, stop);
  });
  return element;
}

function body(call) {
  const content = call.operation.requestBody.content;
  const kinds = Object.keys(content).filter((kind) => !kind.startsWith("image/"));
  const names = {
    "application/octet-stream": "the image itself",
    "multipart/form-data": "a form with files",
    "application/json": "JSON with base64",
  };
  const kind = make("select", {}, ...kinds.map((value) => make("option", { value }, names[value] || value)));
  const file = make("input", { type: "file" });
  const text = make("textarea", { spellcheck: "false" });
  text.value = JSON.stringify(Object.values(content["application/json"].examples)[0].value, null, 2);
  const fields = [
    field(`${call.id}-kind`, "body", "", kind),
    field(`${call.id}-file`, "image", "", file),
    field(`${call.id}-json`, "JSON", "", text),
  ];
  const show = () => {
    fields[1].hidden = kind.value === "application/json";
    fields[2].hidden = !fields[1].hidden;
    file.multiple = kind.value === "multipart/form-data";
  };
  kind.addEventListener("change", show);
  show();
  call.body = { kind, file, text };
  return fields;
}

// ---- what is sent

function prepared(call) {
  const query = new URLSearchParams();
  const headers = {};
  for (const [parameter, input] of call.inputs) {
    if (input.value === "") continue;
    if (parameter.in === "header") headers[parameter.name] = input.value;
    else query.append(parameter.name, input.value);
  }
  const url = call.path.slice(1) + (query.size ? `?${query}` : "");
  const options = { method: call.method, headers };
  const shell = (value) => `'${String(value).replaceAll("'", "'\\''")}'`;
  const words = ["curl", shell(new URL(url, location.href))];
  if (spec.security && !call.operation.security) {
    words.push('-H "Authorization: Bearer $TOKEN"');
  }
  for (const [name, value] of Object.entries(headers)) words.push("-H", shell(`${name}: ${value}`));
  if (!call.body) {
    if (call.method !== "GET") words.push("-X", call.method);
    return { url, options, curl: words.join(" ") };
  }
  const kind = call.body.kind.value;
  const files = [...call.body.file.files];
  if (kind === "application/json") {
    options.body = call.body.text.value;
    headers["Content-Type"] = kind;
    words.push("-H", shell(`Content-Type: ${kind}`), "-d @body.json");
  } else if (kind === "multipart/form-data") {
    options.body = new FormData();
    for (const file of files) {
      options.body.append("image", file);
      words.push("-F", shell(`image=@${file.name}`));
    }
  } else {
    options.body = files[0] || "";
    headers["Content-Type"] = kind;
    words.push("--data-binary", shell(`@${files[0] ? files[0].name : "photo.jpg"}`));
  }
  return { url, options, curl: words.join(" ") };
}

async function request(call, box, stop) {
  const { url, options, curl } = prepared(call);
  const abort = new AbortController();
  stop.onclick = () => abort.abort();
  stop.hidden = false;
  const status = make("p", { class: "status" }, "Sending…");
  box.querySelectorAll("img").forEach((image) => URL.revokeObjectURL(image.src));
  box.replaceChildren(make("pre", { tabindex: "0" }, curl), status);
  const started = performance.now();
  try {
    const answer = await fetch(url, { ...options, signal: abort.signal });
    const type = answer.headers.get("content-type") || "";
    status.dataset.ok = String(answer.ok);
    status.textContent = `${answer.status} ${answer.statusText} · ${type || "no content"}`;
    if (answer.status === 401) $("login").scrollIntoView();
    await show(answer, type, box);
    const took = Math.round(performance.now() - started);
    status.textContent += ` · ${took} ms`;
  } catch (error) {
    if (error.name === "AbortError") status.textContent += " · stopped";
    else {
      status.dataset.ok = "false";
      status.textContent = "The service closed the connection or does not answer.";
    }
  }
  stop.hidden = true;
}

async function show(answer, type, box) {
  if (type.startsWith("image/")) {
    const url = URL.createObjectURL(await answer.blob());
    box.append(make("img", { src: url, alt: "The picture of the answer" }));
    return;
  }
  const output = make("pre", { tabindex: "0" });
  if (type.startsWith("text/event-stream")) {
    box.append(output);
    await readStream(answer, (text) => {
      output.textContent = (output.textContent + text).slice(-LONGEST);
      output.scrollTop = output.scrollHeight;
    });
    return;
  }
  if (type.startsWith("multipart/")) {
    await answer.body.cancel();
    box.append(make("p", {}, "A stream of pictures. "), make("a", { href: answer.url }, "Open it"));
    return;
  }
  let text = await answer.text();
  if (type.startsWith("application/json")) text = JSON.stringify(JSON.parse(text), null, 2);
  const cut = text.length - LONGEST;
  output.textContent = cut > 0 ? `${text.slice(0, LONGEST)}\n… ${cut} more characters` : text;
  if (text) box.append(output);
}

async function readStream(answer, add) {
  const reader = answer.body.getReader();
  const decoder = new TextDecoder();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    add(decoder.decode(value, { stream: true }));
  }
}

async function sendToken(submit) {
  submit.preventDefault();
  const answer = await fetch("session", {
    method: "POST",
    headers: { Authorization: `Bearer ${$("token").value}` },
  }).catch(() => null);
  $("token").value = "";
  $("login-result").textContent = !answer
    ? "The service does not answer."
    : answer.ok
      ? "The token is right. This browser keeps a cookie instead of it."
      : "The token is wrong.";
}

function openTarget() {
  const target = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (!target) return;
  target.open = true;
  target.scrollIntoView();
}

$("login").addEventListener("submit", sendToken);
window.addEventListener("hashchange", openTarget);
load();
