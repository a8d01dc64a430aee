// MapLibre as any other program would use it: a page of its own with every layer's tiles, no part of the screen. What
// is drawn is counted against what the server finds in the same box; a device that moves is followed.
//
//   ONEMAP_URL=… ONEMAP_TOKEN=… [SHOTS_DIR=…] node e2e/foreign-map.mjs west,south,east,north device
//
// One JSON line: by layer the codes that are drawn and found, and how long the device took.
import { createReadStream } from "node:fs";
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { environment, launch, until } from "./browser.mjs";

const { url, token, shots } = environment();
const [west, south, east, north] = process.argv[2].split(",").map(Number);
const device = process.argv[3];
const dist = dirname(createRequire(import.meta.url).resolve("maplibre-gl/dist/maplibre-gl.css"));
const KINDS = {
  divisions: "division",
  water: "water",
  roads: "road",
  places: "place",
  grids: "grid",
  reaches: "reach",
  components: "component",
  addresses: "address",
  hazards: "hazard",
  pipes: "pipe",
};
const bearer = { authorization: `Bearer ${token}` };

const PAGE = `<!doctype html><link rel="stylesheet" href="/lib/maplibre-gl.css"><style>#map{width:1000px;height:800px}</style>
<div id="map"></div><script type="module">
import * as maplibre from "/lib/maplibre-gl.mjs";
maplibre.setWorkerUrl("/lib/maplibre-gl-worker.mjs");
const names = ${JSON.stringify([...Object.keys(KINDS), "live"])};
const tiles = (name, n = 0) => [location.origin + "/tiles/" + name + "/{z}/{x}/{y}.mvt?" + n];
const source = (name) => ({ type: "vector", tiles: tiles(name), minzoom: 0, maxzoom: 16 });
const layers = names.flatMap((name) => [
  { id: name + "-fill", type: "fill", source: name, "source-layer": name, filter: ["==", ["geometry-type"], "Polygon"], paint: { "fill-color": "#88a", "fill-opacity": 0.3 } },
  { id: name + "-line", type: "line", source: name, "source-layer": name, filter: ["==", ["geometry-type"], "LineString"], paint: { "line-color": "#246", "line-width": 2 } },
  { id: name + "-point", type: "circle", source: name, "source-layer": name, filter: ["==", ["geometry-type"], "Point"], paint: { "circle-radius": 3, "circle-color": "#a22" } },
]);
const map = new maplibre.Map({ container: "map", attributionControl: false, fadeDuration: 0,
  bounds: ${JSON.stringify([west, south, east, north])}, fitBoundsOptions: { padding: 40 },
  style: { version: 8, sources: Object.fromEntries(names.map((name) => [name, source(name)])), layers } });
window.errors = []; window.idle = 0;
map.on("error", (event) => window.errors.push(String(event.error?.message ?? event)));
map.on("idle", () => window.idle++);
window.drawn = (name) => [...new Set(map.queryRenderedFeatures({ layers: ["fill", "line", "point"].map((k) => name + "-" + k) })
  .map(({ properties: p }) => p.code ?? p.id ?? p.name))].sort();
window.at = (id) => map.queryRenderedFeatures({ layers: ["live-point"] }).filter(({ properties: p }) => p.id === id).map((f) => f.geometry.coordinates)[0];
window.box = () => map.getBounds().toArray().flat().join(",");
let n = 0;
window.refresh = () => map.getSource("live").setTiles(tiles("live", ++n));
</script>`;

const statuses = {};
const server = createServer(async (request, response) => {
  if (request.url === "/") return response.end(PAGE);
  if (request.url.startsWith("/lib/")) {
    const file = request.url.slice(5);
    response.setHeader("content-type", file.endsWith(".css") ? "text/css" : "text/javascript");
    return createReadStream(join(dist, file))
      .on("error", () => response.writeHead(404).end())
      .pipe(response);
  }
  if (!request.url.startsWith("/tiles/")) return response.writeHead(404).end();
  const answer = await fetch(url + request.url.split("?")[0], { headers: bearer });
  statuses[answer.status] = (statuses[answer.status] ?? 0) + 1;
  response.writeHead(answer.status, { "content-type": answer.headers.get("content-type") ?? "text/plain" });
  response.end(Buffer.from(await answer.arrayBuffer()));
});
await new Promise((listening) => server.listen(0, "127.0.0.1", listening));

const json = async (path, init) => {
  const answer = await fetch(url + path, {
    ...init,
    headers: { ...bearer, "content-type": "application/json" },
  });
  if (!answer.ok) throw new Error(`${path}: ${answer.status} ${await answer.text()}`);
  return answer.json();
};
const browser = await launch();
try {
  const page = await browser.newPage({ viewport: { width: 1000, height: 800 } });
  await page.goto(`http://127.0.0.1:${server.address().port}/`);
  await until("the map is idle", () => page.evaluate(() => window.idle > 0), 60_000);
  const said = { layers: {}, statuses };
  // What the page really shows is a little more than what it was asked to.
  const box = await page.evaluate(() => window.box());
  for (const [layer, kind] of Object.entries(KINDS)) {
    const found = await json(`/api/v1/within?bbox=${box}&kind=${kind}&limit=10000`);
    const named = ["water", "roads"].includes(layer);
    const codes = found.features.map(({ properties: p }) => (named ? p.name : p.code)).sort();
    const drawn = await page.evaluate((name) => window.drawn(name), layer);
    said.layers[layer] = {
      n: found.numberMatched,
      same: JSON.stringify(drawn) === JSON.stringify(codes),
      drawn: drawn.length,
    };
  }
  const before = await page.evaluate((id) => window.at(id), device);
  const position = { lon: (west + east) / 2, lat: (south + north) / 2 };
  await json(`/api/v1/devices/${device}`, { method: "PATCH", body: JSON.stringify({ position }) });
  const moved = Date.now();
  await page.evaluate(() => window.refresh());
  const after = await until("the device is drawn where it is now", () =>
    page.evaluate(
      ([id, lon]) => {
        const at = window.at(id);
        return at && Math.abs(at[0] - lon) < 1e-3 ? at : null;
      },
      [device, position.lon],
    ),
  );
  said.moved = { ms: Date.now() - moved, before, after };
  said.errors = await page.evaluate(() => window.errors);
  if (shots) await page.screenshot({ path: join(shots, "foreign-map.png") });
  console.log(JSON.stringify(said));
} catch (error) {
  console.error(error.stack ?? String(error), JSON.stringify(statuses));
  process.exitCode = 1;
} finally {
  await browser.close();
  server.close();
}
