// A browser on the screen, with guards: what it asked other hosts for, what its policy refused, what went wrong.
import { accessSync, constants } from "node:fs";
import { delimiter, join } from "node:path";
import { chromium } from "playwright-core";

const NAMES = ["chromium", "chromium-browser", "google-chrome"];
const FLAGS = [
  "--headless",
  "--no-sandbox",
  "--use-angle=swiftshader-webgl",
  "--enable-unsafe-swiftshader",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
  "--no-first-run",
  "--disable-quic",
];

/** The browser named by CHROMIUM, or the first one on the PATH. */
function browserPath() {
  if (process.env.CHROMIUM) return process.env.CHROMIUM;
  for (const folder of (process.env.PATH ?? "").split(delimiter))
    for (const name of NAMES) {
      const path = join(folder, name);
      try {
        accessSync(path, constants.X_OK);
        return path;
      } catch {
        // not here
      }
    }
  throw new Error(`no browser found: install chromium or set CHROMIUM (looked for ${NAMES.join(", ")})`);
}

export function environment() {
  const { ONEMAP_URL, ONEMAP_TOKEN, SHOTS_DIR } = process.env;
  if (!ONEMAP_URL || !ONEMAP_TOKEN) throw new Error("set ONEMAP_URL and ONEMAP_TOKEN");
  return { url: ONEMAP_URL.replace(/\/$/, ""), token: ONEMAP_TOKEN, shots: SHOTS_DIR ?? null };
}

export const launch = () => chromium.launch({ executablePath: browserPath(), args: FLAGS });

/**
 * A page whose every foreign request, policy violation and error is written down in `guards`. `anyCertificate` takes
 * one that signs itself.
 */
export async function openPage(browser, { url, width = 1920, height = 1080, anyCertificate = false }) {
  // Without flights: they are drawn in software here and would take the time that is being measured.
  const context = await browser.newContext({
    viewport: { width, height },
    reducedMotion: "reduce",
    ignoreHTTPSErrors: anyCertificate,
  });
  const page = await context.newPage();
  const guards = { foreign: [], violations: [], errors: [] };
  const own = new URL(url).host;
  page.on("request", (request) => {
    const asked = new URL(request.url());
    if (!["data:", "blob:"].includes(asked.protocol) && asked.host !== own)
      guards.foreign.push(request.url());
  });
  page.on("console", (message) => {
    if (message.type() === "error") guards.errors.push(message.text());
  });
  page.on("pageerror", (error) => guards.errors.push(error.stack ?? String(error)));
  await page.exposeFunction("noteViolation", (text) => guards.violations.push(text));
  await page.addInitScript(() => {
    document.addEventListener("securitypolicyviolation", (event) =>
      window.noteViolation(`${event.effectiveDirective} ${event.blockedURI} ${event.sourceFile ?? ""}`),
    );
  });
  return { page, context, guards };
}

/** Waits until the stream beats and the map has drawn everything. */
export async function ready(page, timeout = 90_000) {
  await page.locator('[data-testid="contact"][data-contact="live"]').waitFor({ timeout });
  await page.locator('[data-testid="map"][data-idle="true"]').waitFor({ timeout });
}

/** Asks again and again until `check` gives something true, at most `timeout` ms. */
export async function until(what, check, timeout = 20_000) {
  const end = Date.now() + timeout;
  let last;
  for (;;) {
    try {
      last = await check();
      if (last) return last;
    } catch (error) {
      last = error;
    }
    if (Date.now() > end)
      throw new Error(
        `${what}: not within ${timeout} ms${last instanceof Error ? ` (${last.message})` : ""}`,
      );
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}
