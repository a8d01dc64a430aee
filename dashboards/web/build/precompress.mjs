// Writes a .br and a .gz beside every built text file that is worth it, so that the server never
// compresses at run time. Deterministic: same input, same bytes.
import { readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { extname, join } from "node:path";
import { brotliCompressSync, constants, gzipSync } from "node:zlib";

const root = new URL("../dist/", import.meta.url).pathname;
const packed = new Set([".js", ".mjs", ".css", ".svg", ".json"]);
const smallest = 1024;

function* files(folder) {
  for (const name of readdirSync(folder).sort()) {
    const path = join(folder, name);
    if (statSync(path).isDirectory()) yield* files(path);
    else yield path;
  }
}

const sums = { raw: 0, br: 0, gz: 0 };
for (const path of files(root)) {
  if (!packed.has(extname(path))) continue;
  const raw = readFileSync(path);
  if (raw.length < smallest) continue;
  const br = brotliCompressSync(raw, {
    params: {
      [constants.BROTLI_PARAM_QUALITY]: 11,
      [constants.BROTLI_PARAM_SIZE_HINT]: raw.length,
      [constants.BROTLI_PARAM_MODE]: constants.BROTLI_MODE_TEXT,
    },
  });
  const gz = gzipSync(raw, { level: 9 });
  writeFileSync(`${path}.br`, br);
  writeFileSync(`${path}.gz`, gz);
  sums.raw += raw.length;
  sums.br += br.length;
  sums.gz += gz.length;
}
const kib = (n) => `${Math.round(n / 1024)} KiB`;
console.log(`pre-compressed: ${kib(sums.raw)} as ${kib(sums.br)} br, ${kib(sums.gz)} gz`);
