// Keeps the screen open and answers questions about it, one JSON line for each line on stdin:
//
//   value DEVICE QUANTITY   what the screen shows as the latest value      {"text":"612","value":612,"measured":"…","stale":false}
//   banner                  whether the stale banner shows                 {"visible":true,"text":"…"}
//   contact                 connecting, live or lost                       {"contact":"live"}
//   counts                  the figures of the strip                       {"normal":110,"abnormal":2,"unknown":8,"stale":3}
//   alarms                  the cards in the list                          {"alarms":[{"id":"…","device":"…","alarms":1,"severity":"critical","acknowledged":false}]}
//   shot FILE               writes a screenshot                            {"file":"…"}
//   quit
//
// The first line it prints is {"ready":true}. Needs ONEMAP_URL and ONEMAP_TOKEN.
import { createInterface } from "node:readline";
import { environment, launch, openPage, ready } from "./browser.mjs";

const { url, token } = environment();
const browser = await launch();
const { page } = await openPage(browser, { url });
const say = (data) => process.stdout.write(`${JSON.stringify(data)}\n`);

const commands = {
  async value(device, quantity) {
    await page.evaluate((id) => {
      const hash = `#device=${encodeURIComponent(id)}`;
      if (location.hash !== hash) location.hash = hash;
    }, device);
    return page.evaluate(
      ([id, name]) => {
        const element = document.querySelector(`[data-testid="value-${CSS.escape(id)}-${CSS.escape(name)}"]`);
        if (!element) return { text: null, value: null };
        const { value, measured } = element.dataset;
        return {
          text: element.textContent,
          value: value === "" || value === undefined ? null : Number(value),
          measured,
          stale: element.closest(".is-stale") !== null,
        };
      },
      [device, quantity],
    );
  },
  banner: () =>
    page.evaluate(() => {
      const banner = document.querySelector('[data-testid="stale-banner"]');
      return {
        visible: banner !== null && banner.getClientRects().length > 0,
        text: banner?.textContent ?? null,
      };
    }),
  contact: () =>
    page.evaluate(() => ({
      contact: document.querySelector('[data-testid="contact"]')?.getAttribute("data-contact") ?? null,
    })),
  counts: () =>
    page.evaluate(() =>
      Object.fromEntries(
        ["normal", "abnormal", "unknown", "stale"].map((name) => {
          const text = document.querySelector(`[data-testid="count-${name}"]`)?.textContent ?? "";
          return [name, /\d/.test(text) ? Number(text.replace(/\D/g, "")) : null];
        }),
      ),
    ),
  alarms: () =>
    page.evaluate(() => ({
      alarms: [...document.querySelectorAll("[data-testid=alarm-list] [data-severity]")].map((card) => ({
        id: card.dataset.testid?.replace(/^(alarm|card)-/, ""),
        device: card.dataset.device,
        alarms: Number(card.dataset.alarms),
        severity: card.dataset.severity,
        acknowledged: card.dataset.acknowledged === "true",
      })),
    })),
  async shot(file) {
    await page.screenshot({ path: file });
    return { file };
  },
};

try {
  await page.goto(`${url}/#token=${encodeURIComponent(token)}`);
  await ready(page);
  say({ ready: true });
  for await (const line of createInterface({ input: process.stdin })) {
    const [name = "", ...rest] = line.trim().split(/\s+/);
    if (name === "") continue;
    if (name === "quit") break;
    const command = commands[name];
    if (!command) {
      say({ error: `no command is called ${name}` });
      continue;
    }
    try {
      say({ command: name, ...(await command(...rest)) });
    } catch (error) {
      say({ command: name, error: error.message });
    }
  }
} catch (error) {
  say({ ready: false, error: error.message });
  process.exitCode = 1;
} finally {
  await browser.close();
}
