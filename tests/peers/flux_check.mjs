// Type-checks Flux by the front end of Flux itself (libflux in WASM): texts separated by a line of `---` on standard
// input, one JSON array of messages per text on standard output.
import { createRequire } from "node:module";
import { readFileSync } from "node:fs";

const require = createRequire(process.argv[2] + "/");
const { Lsp } = require("@influxdata/flux-lsp-node");

const lsp = new Lsp();
const waiting = new Map();
lsp.onMessage((message) => {
  const said = JSON.parse(message);
  if (said.method === "textDocument/publishDiagnostics") waiting.get(said.params.uri)?.(said.params.diagnostics);
});
lsp.run();
let id = 0;
const send = (method, params, asks) => lsp.send(JSON.stringify({ jsonrpc: "2.0", method, params, ...(asks && { id: ++id }) }));

await send("initialize", { capabilities: {}, processId: null, rootUri: null }, true);
await send("initialized", {});
const texts = readFileSync(0, "utf8").split("\n---\n");
for (const [i, text] of texts.entries()) {
  const uri = `file:///check/${i}/q.flux`;
  const diagnostics = new Promise((resolve, reject) => {
    waiting.set(uri, resolve);
    setTimeout(() => reject(new Error("no answer within 30 s")), 30_000).unref();
  });
  await send("textDocument/didOpen", { textDocument: { uri, languageId: "flux", version: 1, text } });
  console.log(JSON.stringify((await diagnostics).map((d) => d.message)));
}
process.exit(0);
