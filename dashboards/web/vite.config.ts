// How the screen is built: hashed files under assets/, nothing inlined, so that a strict content
// security policy (no inline script, no inline style) holds.
import { defineConfig } from "vitest/config";

const server = process.env.ONEMAP_URL;
// The server takes acts of a session from its own page only: the host that the browser asked stays in the request.
const toServer = { target: server, changeOrigin: false };
const proxy = { "/api": toServer, "/ogc": toServer, "/tiles": toServer, "/basemaps": toServer };

export default defineConfig({
  base: "/",
  oxc: { jsx: { runtime: "automatic", importSource: "preact" } },
  worker: { format: "es" },
  server: { proxy: server ? proxy : {} },
  build: {
    target: "es2022",
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    chunkSizeWarningLimit: 1300,
    reportCompressedSize: false,
  },
  test: { include: ["src/**/*.test.ts"], environment: "node" },
});
