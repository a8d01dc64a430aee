// Walks through the screen as a desk officer would, against a running server. One JSON line a step; exit code 1
// and the reason when a step fails.
//
//   ONEMAP_URL=http://127.0.0.1:8080 ONEMAP_TOKEN=… [SHOTS_DIR=…] [ALARM_WAIT_S=180] node e2e/screen.mjs [step …]
//
// Without arguments all steps run in order; with arguments only those named (and `open`, always).
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { environment, launch, openPage, ready, until } from "./browser.mjs";

const { url, token, shots } = environment();
const alarmWait = Number(process.env.ALARM_WAIT_S ?? 180) * 1000;
const axeSource = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

const browser = await launch();
const { page, guards } = await openPage(browser, { url });
const at = (id) => page.getByTestId(id);
const shot = async (name, of = page) =>
  shots ? of.screenshot({ path: join(shots, `${name}.png`) }) : undefined;
/** JSON of the server, as the page's own session sees it. */
const fetchJson = (path) =>
  page.evaluate(async (p) => {
    const response = await fetch(p);
    if (!response.ok) throw new Error(`${p}: ${response.status}`);
    return response.json();
  }, path);
/** A request that changes something, made by the page's own session; its answer. */
const send = (method, path, body) =>
  page.evaluate(
    async ([how, where, what]) => {
      const response = await fetch(where, {
        method: how,
        headers: { "content-type": "application/json" },
        body: what === undefined ? undefined : JSON.stringify(what),
      });
      if (!response.ok) throw new Error(`${how} ${where}: ${response.status}`);
      return response.status === 204 ? null : response.json();
    },
    [method, path, body],
  );
const number = async (id) => Number((await at(id).textContent()).replace(/[^\d.-]/g, ""));
function claim(held, why) {
  if (!held) throw new Error(why);
}

/** Serious and critical findings of axe, as text. */
async function axe(of = page) {
  await of.evaluate(axeSource);
  const found = await of.evaluate(() => window.axe.run(document, { resultTypes: ["violations"] }));
  return found.violations
    .filter((v) => v.impact === "serious" || v.impact === "critical")
    .map(
      (v) =>
        `${v.id}: ${v.nodes
          .map((n) => `${n.target.join(" ")} (${n.any[0]?.message ?? v.help})`)
          .slice(0, 4)
          .join("; ")}`,
    );
}

/** Texts that are not in the language of the page and not marked as another, and places never filled in. */
function strangeTexts(of, language) {
  return of.evaluate((wanted) => {
    const strange = [];
    const judge = (text, element, where) => {
      if (/\{\w+\}|undefined|NaN|\[object|Invalid Date/.test(text)) strange.push(`${where}: ${text}`);
      const marked = element.closest("[lang]")?.getAttribute("lang") ?? "";
      if (wanted === "en" && /\p{Script=Han}/u.test(text) && !marked.startsWith("zh"))
        strange.push(`${where}: ${text}`);
    };
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) {
      const text = walker.currentNode.textContent?.trim() ?? "";
      const element = walker.currentNode.parentElement;
      if (text && element && !element.closest("pre, code, noscript"))
        judge(text, element, element.className || element.tagName);
    }
    for (const element of document.querySelectorAll("[aria-label], [title], [placeholder]"))
      for (const name of ["aria-label", "title", "placeholder"]) {
        const text = element.getAttribute(name);
        // A label holding a name without an English form carries that name in Chinese.
        if (text && name !== "aria-label") judge(text, element, name);
        else if (text && /\{\w+\}|undefined|NaN/.test(text)) strange.push(`${name}: ${text}`);
      }
    return strange;
  }, language);
}

/** Nothing may scroll, and no panel may be wider than its place. */
const overflow = (of) =>
  of.evaluate(() => {
    const root = document.documentElement;
    const wide = [];
    if (root.scrollWidth > innerWidth) wide.push(`page is ${root.scrollWidth} px wide in ${innerWidth}`);
    if (root.scrollHeight > innerHeight) wide.push(`page is ${root.scrollHeight} px high in ${innerHeight}`);
    for (const panel of document.querySelectorAll(".panel, .strip, .alarm-list, .drawer-body"))
      if (panel.scrollWidth > panel.clientWidth + 1)
        wide.push(`${panel.className} holds ${panel.scrollWidth} px in ${panel.clientWidth}`);
    return wide;
  });

/** Where no card is of one alarm, the first card is opened into its alarms. */
async function unfold(of) {
  if ((await of.getByTestId("alarm-open").count()) > 0) return;
  await of.getByTestId("card-open").first().click({ timeout: 5_000 });
  await of.getByTestId("alarm-open").first().waitFor({ timeout: 5_000 });
}

/** Opens the drawer of an alarm that is open now: one that was a moment ago may have cleared. */
const openAlarm = (of) =>
  until(
    "an open alarm in a drawer",
    async () => {
      if ((await of.locator(".evidence-acts").count()) > 0) return true;
      await unfold(of);
      await of.getByTestId("alarm-open").first().click({ timeout: 5_000 });
      await of.locator(".evidence-acts").first().waitFor({ timeout: 5_000 });
      return true;
    },
    alarmWait,
  );

let device = null;

const steps = {
  async open() {
    const from = Date.now();
    await page.goto(`${url}/#token=${encodeURIComponent(token)}`);
    await ready(page);
    const ms = Date.now() - from;
    claim(!page.url().includes("token"), `the token is still in the address: ${page.url()}`);
    const wide = await overflow(page);
    claim(wide.length === 0, wide.join("; "));
    await shot("desk");
    return { ms };
  },

  async counts() {
    return until("the figures of the strip agree with the server", async () => {
      const { counts } = await fetchJson("/api/v1/system");
      const shown = {
        devices: await number("count-devices"),
        normal: await number("count-normal"),
        abnormal: await number("count-abnormal"),
        unknown: await number("count-unknown"),
      };
      claim(counts.devices > 0, "the server has no devices");
      claim(
        counts.normal + counts.abnormal + counts.unknown === counts.devices,
        `the server's states do not add up: ${JSON.stringify(counts)}`,
      );
      for (const [name, n] of Object.entries(shown))
        claim(n === counts[name], `${name}: screen ${n}, server ${counts[name]}`);
      return shown;
    });
  },

  async alarms() {
    const cards = at("alarm-list").locator("[data-severity]");
    await until("an alarm in the list", async () => (await cards.count()) > 0, alarmWait);
    const listed = await cards.evaluateAll((all) =>
      all.map((card) => ({ ...card.dataset, text: card.textContent })),
    );
    const rank = ["critical", "major", "minor", "notice"];
    const order = listed.map((c) => 2 * rank.indexOf(c.severity) + (c.acknowledged === "true" ? 1 : 0));
    claim(
      order.every((n, i) => i === 0 || order[i - 1] <= n),
      `the list is not in the order of need: ${order.join(", ")}`,
    );
    await until("the cards are the server's", async () => {
      const { items } = await fetchJson("/api/v1/alerts/cards");
      const shown = await cards.evaluateAll((all) => all.map((card) => Number(card.dataset.alarms)));
      const held = items.slice(0, shown.length).map((card) => card.counts.alerts);
      return shown.length === Math.min(items.length, 20) && shown.join() === held.join();
    });
    return { listed: listed.length, first: listed[0].text };
  },

  async device() {
    await unfold(page);
    // Another card may come before it at any time: from here on it is that device's.
    const first = at("alarm-open").first().locator("xpath=ancestor::li[@data-device][1]");
    device = await first.getAttribute("data-device");
    await at("map").evaluate((map) => {
      map.dataset.idle = "false";
    });
    await page.locator(`li[data-device="${device}"]`).getByTestId("alarm-open").first().click();
    await page.locator(`[data-testid="device-drawer"][data-device="${device}"]`).waitFor();
    await ready(page);
    await until(
      "the chart of the device",
      async () => Number(await at("chart").getAttribute("data-points")) > 0,
    );
    await until("the chart is drawn", () =>
      at("chart")
        .locator("canvas")
        .evaluate((canvas) => canvas.width > 0 && canvas.height > 0),
    );
    await shot("device");
    return { device, points: Number(await at("chart").getAttribute("data-points")) };
  },

  /** The device stands in the middle of what the drawer leaves free of the map; a click there picks it. */
  async map() {
    const map = await at("map").boundingBox();
    const drawer = await at("device-drawer").boundingBox();
    await at("drawer-close").click();
    await at("device-drawer").waitFor({ state: "detached" });
    await page.mouse.click(map.x + (map.width - drawer.width) / 2, map.y + map.height / 2);
    await at("device-drawer").waitFor();
    const picked = await at("device-drawer").getAttribute("data-device");
    const { items } = await fetchJson("/api/v1/devices");
    const [wanted, found] = [device, picked]
      .map((id) => items.find((d) => d.id === id))
      .map((d) => d.moved_to ?? d.position);
    // Two devices may stand at one place; the picked one must be there too.
    const metres = Math.hypot((wanted.lon - found.lon) * 89_000, (wanted.lat - found.lat) * 111_000);
    claim(metres < 150, `a click on ${device} picked ${picked}, ${Math.round(metres)} m away`);
    return { picked };
  },

  async search() {
    await at("drawer-close").click();
    await at("search").fill(device);
    await at(`hit-${device}`).click();
    await page.locator(`[data-testid="device-drawer"][data-device="${device}"]`).waitFor();
    return { device };
  },

  /** The footer names what the layers say of themselves; that lines are schematic is said of the demo's alone. */
  async credits() {
    const { demo } = await fetchJson("/api/v1/system");
    const layers = ["divisions", "water", "roads", "fences", "places", "components", "hazards"];
    const told = await Promise.all(layers.map((layer) => fetchJson(`/tiles/${layer}.json`)));
    const named = new Set(told.flatMap(({ attribution }) => attribution?.split(" · ") ?? []));
    const shown = (await at("sources").textContent()) ?? "";
    const n = named.size === 0 ? 0 : await at("credits").locator("span").count();
    claim(n === named.size, `the layers name ${[...named].join("; ")}, the screen shows ${shown}`);
    claim(shown.includes("示意，不作为划界依据") === demo, `demo: ${demo}, yet: ${shown}`);
    return { shown };
  },

  /** The pack of an alarm is a file for who may take it, and no button for who may not. */
  async evidence() {
    await openAlarm(page);
    const button = at("device-drawer").getByTestId("evidence-take").first();
    const [download] = await Promise.all([
      page.waitForEvent("download", { timeout: 60_000 }),
      button.click(),
    ]);
    const name = download.suggestedFilename();
    claim(/^evidence-[0-9a-f]+\.tar$/.test(name), `the file is called ${name}`);
    const tar = readFileSync(await download.path());
    claim(tar.subarray(257, 262).toString() === "ustar", "the file is no tar file");
    claim(tar.includes("SHA256SUMS"), "the list of files is not in it");
    claim((await at("evidence-trouble").count()) === 0, "the screen says that it failed");
    const viewer = await send("POST", "/api/v1/tokens", { role: "viewer", name: "who only looks" });
    const other = await openPage(browser, { url });
    await other.page.goto(`${url}/#token=${encodeURIComponent(viewer.token)}`);
    await ready(other.page);
    await openAlarm(other.page);
    claim((await other.page.getByTestId("evidence-take").count()) === 0, "a viewer is offered evidence");
    await other.context.close();
    await send("DELETE", `/api/v1/tokens/${viewer.id}`);
    return { name, bytes: tar.length };
  },

  /** Who may only look is offered no act, and the screen asks for nothing that is denied. */
  async viewer() {
    const made = await send("POST", "/api/v1/tokens", { role: "viewer", name: "who only looks" });
    const other = await openPage(browser, { url });
    const denied = [];
    other.page.on("response", (answer) => {
      if ([401, 403].includes(answer.status()) && !answer.url().endsWith("/api/v1/session"))
        denied.push(`${answer.status()} ${new URL(answer.url()).pathname}`);
    });
    await other.page.goto(`${url}/#token=${encodeURIComponent(made.token)}`);
    await ready(other.page);
    await openAlarm(other.page);
    for (const id of [
      "alarm-acknowledge",
      "evidence-acknowledge",
      "evidence-shelve",
      "quarantine-open",
      "quarantine-count",
      "desk-open",
    ])
      claim((await other.page.getByTestId(id).count()) === 0, `a viewer is shown ${id}`);
    await other.page.getByTestId("who-open").click();
    const said = await other.page.getByTestId("who-dialog").textContent();
    claim(said.includes("who only looks") && said.includes("查看员"), `it says: ${said}`);
    claim((await other.page.getByTestId("password-open").count()) === 0, "a token is offered a password");
    await shot("viewer", other.page);
    claim(denied.length === 0, `denied: ${denied.join(", ")}`);
    await other.context.close();
    await send("DELETE", `/api/v1/tokens/${made.id}`);
    return {};
  },

  /** Who audits reads what happened at the doors, page by page, and takes the evidence of an alarm by its id. */
  async auditor() {
    const { items } = await fetchJson("/api/v1/alerts?limit=1");
    claim(items.length === 1, "there is no alarm");
    const made = await send("POST", "/api/v1/tokens", { role: "audit_admin", name: "who audits" });
    // More than one page of what differs.
    for (let i = 0; i < 120; i += 1)
      await fetch(`${url}/api/v1/devices/d${i}`, { headers: { authorization: "Bearer nobody-holds-this" } });
    const other = await openPage(browser, { url });
    const there = (test) => other.page.getByTestId(test);
    const rows = there("events").locator("tbody tr");
    await other.page.goto(`${url}/#token=${encodeURIComponent(made.token)}`);
    await until("the newest events", async () => (await rows.count()) === 100);
    const newest = await rows.first().getAttribute("data-testid");
    await there("events-older").click();
    await until("older events", async () => (await there(newest).count()) === 0 && (await rows.count()) > 0);
    await shot("audit-older", other.page);
    await there("events-newer").click();
    await there(newest).waitFor();
    await there("events-kind").selectOption("changed");
    await there("events-actor").fill("local owner");
    const others = there("events").locator('tbody tr:not([data-kind="changed"])');
    await until(
      "changes by the local owner alone",
      async () => (await rows.count()) > 0 && (await others.count()) === 0,
    );
    const actors = await rows.locator("td:nth-child(3)").allTextContents();
    claim(new Set(actors).size === 1 && actors[0] === "local owner", `by ${[...new Set(actors)]}`);
    await there("audit-alert").fill("0".repeat(32));
    await there("audit-take").click();
    await there("audit-trouble").waitFor();
    const trouble = await there("audit-trouble").textContent();
    claim(trouble.includes("没有这条告警"), `it says: ${trouble}`);
    await shot("audit", other.page);
    await there("audit-alert").fill(items[0].id);
    const [download] = await Promise.all([
      other.page.waitForEvent("download", { timeout: 60_000 }),
      there("audit-take").click(),
    ]);
    const tar = readFileSync(await download.path());
    claim(tar.includes("SHA256SUMS"), "the list of files is not in the pack");
    claim((await there("audit-trouble").count()) === 0, "the screen says that it failed");
    const faults = await axe(other.page);
    claim(faults.length === 0, faults.join("\n"));
    const wide = await overflow(other.page);
    claim(wide.length === 0, wide.join("; "));
    await other.context.close();
    await send("DELETE", `/api/v1/tokens/${made.id}`);
    return { bytes: tar.length };
  },

  /** Who keeps the security has the accounts and the events, and no evidence. */
  async security() {
    const made = await send("POST", "/api/v1/tokens", { role: "security_admin", name: "who keeps it" });
    const other = await openPage(browser, { url });
    const there = (test) => other.page.getByTestId(test);
    await other.page.goto(`${url}/#token=${encodeURIComponent(made.token)}`);
    await there("accounts").waitFor();
    await there("desk-audit").click();
    await until("events", async () => (await there("events").locator("tbody tr").count()) > 0);
    claim((await there("audit-take").count()) === 0, "evidence is offered");
    await shot("security", other.page);
    await other.context.close();
    await send("DELETE", `/api/v1/tokens/${made.id}`);
    return {};
  },

  /** A person of a district sees whose view it is, acts in the own name and changes the own password. */
  async person() {
    const id = `li${Date.now()}`;
    const { items } = await fetchJson("/api/v1/alerts?state=open&limit=1000");
    const division = items.find((alert) => alert.division !== null)?.division.slice(0, 6) ?? null;
    claim(division !== null, "no open alarm lies in a district");
    const { name: district } = await fetchJson(`/api/v1/entities/${division}?kind=division`);
    const facts = { id, name: "李娜", role: "officer", division, departments: [] };
    const { link } = await send("POST", "/api/v1/accounts", facts);
    const other = await openPage(browser, { url });
    const there = (test) => other.page.getByTestId(test);
    await other.page.goto(`${url}${link.path}`);
    await there("setup-password").fill("twelve letters and more");
    await there("setup-again").fill("twelve letters and more");
    await there("setup-submit").click();
    await ready(other.page);
    await until("the view is called by its district", async () => {
      return (await there("overview-title").textContent()) === `${district}总览`;
    });
    await shot("person", other.page);
    await openAlarm(other.page);
    await there("evidence-acknowledge").first().click();
    await there("act-dialog").waitFor();
    claim((await there("act-own-name").textContent()) === "李娜", "another name than the account's");
    claim((await there("act-name").count()) === 0, "the account's name can be written over");
    await shot("person-acknowledges", other.page);
    await other.page.keyboard.press("Escape");
    await there("act-dialog").waitFor({ state: "detached" });
    await there("who-open").click();
    for (const [test, wanted] of [
      ["who-name", "李娜"],
      ["who-account", id],
      ["who-role", "业务员"],
      ["who-division", district],
      ["who-departments", "全部"],
    ])
      claim((await there(test).textContent()) === wanted, `${test}: ${await there(test).textContent()}`);
    await there("password-open").click();
    await there("password-now").fill("not the one it is");
    await there("password-new").fill("another long password");
    await there("password-again").fill("another long password");
    await there("password-submit").click();
    await there("password-trouble").waitFor();
    await shot("person-password", other.page);
    const faults = await axe(other.page);
    claim(faults.length === 0, faults.join("\n"));
    await there("password-now").fill("twelve letters and more");
    await there("password-submit").click();
    await there("who-changed").waitFor();
    await there("who-close").click();
    await there("who-dialog").waitFor({ state: "detached" });
    await ready(other.page);
    const wide = await overflow(other.page);
    claim(wide.length === 0, wide.join("; "));
    await there("log-out").click();
    await there("login-account").fill(id);
    await there("login-password").fill("another long password");
    await there("login-submit").click();
    await there("screen").waitFor();
    await other.context.close();
    await send("DELETE", `/api/v1/accounts/${id}`);
    return { district };
  },

  /** An account gets departments when it is made, and others afterwards. */
  async departments() {
    const id = `zhou${Date.now()}`;
    const held = async () => (await fetchJson(`/api/v1/accounts/${id}`)).departments.join(" ");
    await at("desk-open").click();
    await at("new-id").fill(id);
    await at("new-departments").fill("水务局、城管局");
    await at("new-departments").press("Enter");
    await at("new-departments").fill("应急管理局");
    await at("new-submit").click();
    await at(`account-${id}`).waitFor();
    claim((await held()) === "水务局 城管局 应急管理局", `the server holds ${await held()}`);
    await shot("accounts");
    await at(`departments-${id}`).click();
    const row = at(`account-${id}`);
    await row.locator(".department").filter({ hasText: "城管局" }).getByRole("button").click();
    await at("edit-departments").fill("生态环境局");
    await shot("accounts-departments");
    const faults = await axe();
    claim(faults.length === 0, faults.join("\n"));
    await at("edit-departments-save").click();
    await at("edit-departments").waitFor({ state: "detached" });
    claim((await held()) === "水务局 应急管理局 生态环境局", `the server holds ${await held()}`);
    const shown = await row.locator(".department").allTextContents();
    claim(shown.join(" ") === (await held()), `the row shows ${shown}`);
    await send("DELETE", `/api/v1/accounts/${id}`);
    await at("desk-close").click();
    return { shown };
  },

  /** A forecast is drawn and told beside the course, stands on its page, and is old when it is one. */
  async forecasts() {
    const { items } = await fetchJson("/api/v1/series?kind=river_gauge");
    // Those that the server foresees itself tell its own forecasts first.
    const own = new Set((await fetchJson("/api/v1/forecasters")).items.map((item) => item.series.device));
    const [series, other] = items.filter(
      (each) => each.quantity === "water_level" && each.ch === 0 && !own.has(each.device),
    );
    claim(other !== undefined, "there are no two river gauges");
    const now = Date.parse((await fetchJson("/api/v1/system")).now);
    const text = (hours) => new Date(now + hours * 3_600_000).toISOString();
    const lead = (hours, value, probability) => ({
      at: text(hours),
      value,
      quantiles: [
        [0.1, value - 0.4],
        [0.9, value + 0.5],
      ],
      exceed: [{ threshold: 2, probability, warns: probability > 0.5 }],
    });
    for (const [hours, of] of [
      [0, series],
      [-9, other],
    ])
      await send("POST", "/api/v1/forecasts", {
        source: "省水文局",
        issued_at: text(hours),
        forecasts: [
          {
            device: of.device,
            quantity: "water_level",
            ch: of.ch,
            step_s: 3600,
            leads: [lead(hours + 1, 2.1, 0.3), lead(hours + 3, 2.31, 0.64)],
          },
        ],
      });
    await page.evaluate((id) => {
      location.hash = `device=${id}`;
    }, series.device);
    await page.locator(`[data-testid="device-drawer"][data-device="${series.device}"]`).waitFor();
    await at("series-water_level").click();
    await at("foresight-line").waitFor();
    const words = await at("foresight-line").textContent();
    claim(/预计 .*2\.31.*80 %.*1\.91.*2\.81.*概率 64 %.*预警/.test(words), `it says: ${words}`);
    await at("past").click();
    await at("past-10800").click();
    await shot("foresight");
    await at("forecasts-open").click();
    const rows = at("forecasts-table").locator("tbody tr");
    await until("both forecasts", async () => (await rows.count()) >= 2);
    const listed = await rows.allTextContents();
    const [first, second] = [series, other].map((each) => at(`forecast-${each.device}`));
    claim((await first.textContent()).includes("64 %"), `the table says: ${listed}`);
    const old = await second.textContent();
    claim(
      old.includes("旧预报") && old.includes("未知") && !old.includes("64 %"),
      `of an old one it says: ${old}`,
    );
    await at(`pick-${series.device}-省水文局`).click();
    await at("skill-end").waitFor();
    claim((await at("skill-end").textContent()).includes("记录不足"), "skill without a record");
    claim((await at("retrain").count()) === 0, "a model of others can be trained");
    await shot("forecasts");
    const faults = await axe();
    claim(faults.length === 0, faults.join("\n"));
    const wide = await overflow(page);
    claim(wide.length === 0, wide.join("; "));
    await at("desk-close").click();
    return { words, listed: listed.length };
  },

  /** An alarm of a rule that looks ahead is marked, and its words are whole in the list and in the drawer. */
  async foreseen() {
    const { items } = await fetchJson("/api/v1/series?kind=river_gauge");
    // Not one of those whose forecasts the step before tells.
    const of = items.findLast((each) => each.quantity === "water_level" && each.ch === 0);
    const source = "屏幕试报";
    await send("PUT", "/api/v1/rules/screen-ahead", {
      version: 1,
      rules: [
        {
          id: "screen-ahead",
          name: { zh: "预报超警戒水位", en: "Warning stage foreseen" },
          applies_to: { device: of.device },
          severity: "critical",
          advice: { zh: "关闭涉水路段", en: "Close the fords" },
          when: {
            forecast: { quantity: "water_level", within: "3 h", above: "30 m", clear: "29 m", source },
          },
        },
      ],
    });
    const now = Date.parse((await fetchJson("/api/v1/system")).now);
    const text = (hours) => new Date(now + hours * 3_600_000).toISOString();
    const lead = (hours, value) => ({
      at: text(hours),
      value,
      quantiles: [
        [0.1, value - 2],
        [0.9, value + 2],
      ],
    });
    await send("POST", "/api/v1/forecasts", {
      source,
      issued_at: text(0),
      forecasts: [
        { device: of.device, quantity: "water_level", step_s: 3600, leads: [lead(1, 26), lead(3, 34)] },
      ],
    });
    const own = { has: at("foreseen-badge"), hasText: "30 m" };
    // Alone, or before others of the same water: it is of the worst severity.
    const card = page.locator(`.alarm[data-device="${of.device}"]`).filter(own);
    await card.waitFor();
    const words = await card.locator(".alarm-message").textContent();
    claim(
      /^水位（屏幕试报）预计 .*后.*即 .* 高于 30 m，.*；此处此类预报.*$/.test(words),
      `it says: ${words}`,
    );
    const isCut = await card
      .locator(".alarm-message")
      .evaluate((e) => e.scrollWidth > e.clientWidth || e.scrollHeight > e.clientHeight);
    claim(!isCut, "its words are cut in the list");
    await page.evaluate((id) => {
      location.hash = `device=${id}`;
    }, of.device);
    const evidence = at("device-drawer").locator(".evidence").filter(own);
    await evidence.waitFor();
    claim((await evidence.textContent()).includes(words), "its words are not whole in the drawer");
    await shot("foreseen");
    const faults = await axe();
    claim(faults.length === 0, faults.join("\n"));
    await send("DELETE", "/api/v1/rules/screen-ahead");
    await card.waitFor({ state: "detached" });
    await at("drawer-close").click();
    return { words };
  },

  async acknowledge() {
    const free = (alert) => alert.acknowledged === null && alert.shelved === null;
    const id = await until(
      "an alarm that nobody has acknowledged",
      async () => (await fetchJson("/api/v1/alerts?state=open&limit=1000")).items.find(free)?.id,
      alarmWait,
    );
    const { series } = await fetchJson(`/api/v1/alerts/${id}`);
    await page.evaluate((of) => {
      location.hash = `device=${of}`;
    }, series.device);
    await at(`evidence-${id}`).getByTestId("evidence-acknowledge").click();
    await at("act-dialog").waitFor();
    await at("act-name").fill("");
    await at("act-submit").click();
    claim(await at("act-dialog").isVisible(), "an acknowledgement without a name was sent");
    await at("act-name").fill("王队");
    await at("act-note").fill("已派人到场核实");
    await at("act-minutes-30").check();
    await shot("acknowledge");
    const faults = await axe();
    claim(faults.length === 0, faults.join("\n"));
    await at("act-submit").click();
    await at("act-dialog").waitFor({ state: "detached" });
    await at(`evidence-${id}`).getByTestId("alarm-acknowledged").waitFor();
    const { acknowledged } = await fetchJson(`/api/v1/alerts/${id}`);
    claim(acknowledged?.name === "王队", `the server holds ${JSON.stringify(acknowledged)}`);
    const minutes = (Date.parse(acknowledged.until) - Date.parse(acknowledged.at)) / 60_000;
    claim(Math.abs(minutes - 30) < 1, `the acknowledgement lasts ${minutes} minutes`);
    return { id };
  },

  /** Two alarms of one series are one card, which says why, opens into them, and leads to the device. */
  async card() {
    const { items } = await fetchJson("/api/v1/series?kind=noise_meter");
    const of = items.findLast((each) => each.quantity === "noise_laeq");
    const rule = (id, severity) => ({
      id,
      name: { zh: "噪声试告", en: "Noise tried" },
      applies_to: { device: of.device },
      severity,
      advice: { zh: "不必处置", en: "Nothing to do" },
      when: { above: { quantity: "noise_laeq", raise: "2 dB(A)", clear: "1 dB(A)" } },
    });
    await send("PUT", "/api/v1/rules/screen-pair", {
      version: 1,
      rules: [rule("screen-pair-a", "critical"), rule("screen-pair-b", "notice")],
    });
    // The critical one leads, even where others near by belong to it.
    const card = page.locator(`.incident[data-device="${of.device}"]`).first();
    await card.waitFor({ timeout: alarmWait });
    await until("both alarms on it", async () => Number(await card.getAttribute("data-alarms")) >= 2);
    const bond = await card.getByTestId("card-bond").textContent();
    claim(["同一测点", "同一设备", "附近"].includes(bond), `it says of why: ${bond}`);
    const open = card.getByTestId("card-open");
    await open.focus();
    await page.keyboard.press("Enter");
    claim((await open.getAttribute("aria-expanded")) === "true", "the keyboard does not open it");
    const rows = card.getByTestId("card-rows").locator("li");
    await until("its alarms", async () => (await rows.count()) >= 2);
    const faults = await axe();
    claim(faults.length === 0, faults.join("\n"));
    const wide = await overflow(page);
    claim(wide.length === 0, wide.join("; "));
    await shot("card");
    await rows.first().getByTestId("alarm-open").click();
    await page.locator(`[data-testid="device-drawer"][data-device="${of.device}"]`).waitFor();
    const before = Number(await card.getAttribute("data-alarms"));
    await send("DELETE", "/api/v1/rules/screen-pair");
    await until("the card without them", async () => {
      if ((await card.count()) === 0) return true;
      return Number(await card.getAttribute("data-alarms", { timeout: 500 })) < before;
    });
    return { device: of.device, bond };
  },

  /** An alarm is shelved with a reason, stands among the shelved, is brought back and assigned; its story says so. */
  async shelve() {
    const { items } = await until(
      "an open alarm",
      async () => {
        const open = await fetchJson("/api/v1/alerts?state=open&limit=1000");
        return open.items.length > 0 && open;
      },
      alarmWait,
    );
    const { id, series } = items[0];
    await page.evaluate((of) => {
      location.hash = `device=${of}`;
    }, series.device);
    const own = at(`evidence-${id}`);
    const say = async (verb, fields) => {
      await own.getByTestId(`evidence-${verb}`).click();
      await at("act-dialog").waitFor();
      for (const [test, text] of Object.entries(fields)) await at(test).fill(text);
      await at("act-submit").click();
    };
    await say("shelve", { "act-name": "王队", "act-note": "" });
    claim(await at("act-dialog").isVisible(), "it was shelved without a reason");
    await at("act-note").fill("校准");
    await at("act-minutes-240").check();
    await shot("shelve");
    await at("act-submit").click();
    await own.getByTestId("alarm-shelved").waitFor();
    const { shelved } = await fetchJson(`/api/v1/alerts/${id}`);
    const minutes = (Date.parse(shelved.until) - Date.parse(shelved.at)) / 60_000;
    claim(Math.abs(minutes - 240) < 1 && shelved.note === "校准", `it holds ${JSON.stringify(shelved)}`);
    await at("alarms-shelved").click();
    await page.locator(`.alarm[data-testid="alarm-${id}"]`).waitFor();
    await until("the number of the shelved", async () => (await number("alarms-shelved-n")) >= 1);
    const faults = await axe();
    claim(faults.length === 0, faults.join("\n"));
    await shot("shelved");
    await at("alarms-open").click();
    await say("unshelve", { "act-name": "王队" });
    await own.getByTestId("alarm-shelved").waitFor({ state: "detached" });
    await say("assign", { "act-name": "王队", "act-to": "李工" });
    await own.getByTestId("alarm-assigned").waitFor();
    await own.getByTestId("story-open").click();
    const edges = own.getByTestId("story-edges").locator("[data-edge]");
    await until("the story", async () => {
      const told = await edges.evaluateAll((all) => all.map((edge) => edge.dataset.edge));
      return told[0] === "raised" && told.slice(-3).join() === "shelved,unshelved,assigned";
    });
    return { id };
  },

  /** Why an alarm is one: four panels, and nothing but words where the server cannot say. */
  async why() {
    await openAlarm(page);
    const why = at("device-drawer").getByTestId("why").first();
    await until("the four panels", async () => (await why.locator(".panel4").count()) === 4);
    const said = await why.locator(".panel4").allTextContents();
    for (const [i, word] of ["可感", "可视", "可预", "可控"].entries())
      claim(said[i].includes(word) && said[i].length > word.length + 4, `the panels say: ${said}`);
    await shot("why");
    const faults = await axe();
    claim(faults.length === 0, faults.join("\n"));
    return { said };
  },

  /** The page of the alarm load names the desks that had alarms. */
  async load() {
    await at("load-open").click();
    const desks = at("load-desks").locator("tbody tr");
    await until("a desk with alarms", async () => (await desks.count()) > 0);
    await shot("load");
    const faults = await axe();
    claim(faults.length === 0, faults.join("\n"));
    const wide = await overflow(page);
    claim(wide.length === 0, wide.join("; "));
    const n = await desks.count();
    await at("desk-close").click();
    return { desks: n };
  },

  /** A drill is planned for devices that are found, is refused in words, is changed and called off. */
  async drills() {
    const name = `演练 ${Date.now()}`;
    await at("drills-open").click();
    await at("drill-add").click();
    await at("drill-save").click();
    await at("drill-lack").waitFor();
    await at("drill-name").fill(name);
    const begins = new Date(Date.now() + (24 + 8) * 3_600_000).toISOString().slice(0, 16);
    const day = (days) => new Date(Date.parse(`${begins}Z`) + days * 86_400_000).toISOString().slice(0, 16);
    await at("drill-from").fill(begins);
    await at("drill-to").fill(day(4));
    await at("drill-choose-rules-find").fill("pm10-dust");
    await at("drill-choose-rules-find").press("Enter");
    await at("drill-choose-devices-find").fill("空气站");
    await at("drill-choose-devices-hit").first().waitFor();
    const faults = await axe();
    claim(faults.length === 0, faults.join("\n"));
    await shot("drill-form");
    await at("drill-choose-devices-all").click();
    await at("drill-save").click();
    await until("four days are too long", async () =>
      (await at("drill-lack").textContent()).includes("三天"),
    );
    await at("drill-to").fill(day(2));
    await at("drill-save").click();
    await at("drill-form").waitFor({ state: "detached" });
    const held = () =>
      fetchJson("/api/v1/drills").then(({ items }) => items.find((one) => one.name === name));
    const drill = await until("the server has the drill", held);
    claim(drill.state === "planned" && drill.devices.length > 1, JSON.stringify(drill));
    claim(drill.rules.join() === "pm10-dust", `rules ${drill.rules}`);
    claim(drill.from.startsWith(begins), `it begins at ${drill.from}, not at ${begins} of Beijing`);
    await until("it is shown", async () => (await at("drill-details").textContent()).includes(name));
    await shot("drills");
    const onPage = await axe();
    claim(onPage.length === 0, onPage.join("\n"));
    const wide = await overflow(page);
    claim(wide.length === 0, wide.join("; "));
    await at("drill-edit").click();
    await at("drill-to").fill(day(1));
    await at("drill-save").click();
    await at("drill-form").waitFor({ state: "detached" });
    claim((await held()).to.startsWith(day(1)), "another end is not held");
    await at("drill-end").click();
    await shot("drill-end");
    await page.keyboard.press("Escape");
    await at("drill-end-dialog").waitFor({ state: "detached" });
    claim((await held()) !== undefined, "it is gone and nobody was sure");
    await at("drill-end").click();
    await at("drill-end-submit").click();
    await at(`drill-${drill.id}`).waitFor({ state: "detached" });
    claim((await held()) === undefined, "the server still has the drill");
    await at("desk-close").click();
    return { devices: drill.devices.length };
  },

  /** What was over when it was found has a list of its own, where the server tells of it. */
  async history() {
    const headers = { authorization: `Bearer ${token}` };
    const answer = await fetch(`${url}/api/v1/alerts?state=past&limit=1`, { headers });
    if (!answer.ok) return { told: false };
    const [found] = (await answer.json()).items;
    await at("alarms-past").click();
    await at("past-list").waitFor();
    await shot("history");
    if (found) {
      await at("past-open").first().click();
      await at("past-hint").waitFor();
      await shot("history-drawer");
      await at("drawer-close").click();
    }
    const faults = await axe();
    claim(faults.length === 0, faults.join("\n"));
    await at("alarms-open").click();
    return { told: true, any: found !== undefined };
  },

  async quarantine() {
    await at("quarantine-open").click();
    await at("quarantine-drawer").waitFor();
    const { items } = await fetchJson("/api/v1/quarantine");
    const rows = at("quarantine-list").locator("li");
    await until("the quarantine's rows", async () => (await rows.count()) >= Math.min(items.length, 1));
    await shot("quarantine");
    await at("drawer-close").click();
    return { items: items.length };
  },

  async language() {
    const zh = await strangeTexts(page, "zh");
    claim(zh.length === 0, `Chinese screen: ${zh.join("; ")}`);
    await at("lang-switch").click();
    await until("the page says it is English", () =>
      page.evaluate(() => document.documentElement.lang === "en"),
    );
    await page.evaluate((id) => {
      location.hash = `device=${id}`;
    }, device);
    await at("device-drawer").waitFor();
    const en = await strangeTexts(page, "en");
    claim(en.length === 0, `English screen: ${en.join("; ")}`);
    const wide = await overflow(page);
    claim(wide.length === 0, wide.join("; "));
    await shot("english");
    const faults = await axe();
    claim(faults.length === 0, faults.join("\n"));
    await at("lang-switch").click();
    await until("the page says it is Chinese", () =>
      page.evaluate(() => document.documentElement.lang === "zh-CN"),
    );
    return {};
  },

  async accessible() {
    const faults = await axe();
    claim(faults.length === 0, faults.join("\n"));
    // The keyboard reaches the search, an alarm and its acknowledgement.
    const reached = new Set();
    await page.evaluate(() => document.activeElement?.blur());
    for (let i = 0; i < 120 && reached.size < 2; i += 1) {
      await page.keyboard.press("Tab");
      const id = await page.evaluate(() => document.activeElement?.getAttribute("data-testid") ?? "");
      if (id === "search") reached.add(id);
      if (id === "alarm-open" || id === "card-open") reached.add("alarm");
    }
    claim(reached.size === 2, `the keyboard reaches only ${[...reached].join(", ") || "nothing"}`);
    return {};
  },

  async wall() {
    const wall = await openPage(browser, { url, width: 3840, height: 2160 });
    await wall.page.goto(`${url}/?wall=1#token=${encodeURIComponent(token)}`);
    await ready(wall.page, 180_000);
    claim((await wall.page.locator("button, input").count()) === 0, "the wall shows controls");
    const wide = await overflow(wall.page);
    claim(wide.length === 0, wide.join("; "));
    const smallest = await wall.page.evaluate(() =>
      Math.min(
        ...[...document.querySelectorAll(".panel *, .strip *")]
          .filter((e) => e.childElementCount === 0 && e.textContent?.trim() && e.getClientRects().length > 0)
          .filter((e) => !e.closest("svg") && !e.classList.contains("only-read"))
          .map((e) => Number.parseFloat(getComputedStyle(e).fontSize)),
      ),
    );
    claim(smallest >= 20, `the smallest words on the wall are ${smallest} px`);
    await shot("wall", wall.page);
    for (const [what, seen] of Object.entries(wall.guards))
      claim(seen.length === 0, `${what}: ${seen.join("; ")}`);
    await wall.context.close();
    return { smallest };
  },

  async door() {
    const outside = await openPage(browser, { url });
    await outside.page.goto(`${url}/`);
    await outside.page.getByTestId("login-account").fill("nobody");
    await outside.page.getByTestId("login-password").fill("certainly wrong");
    await outside.page.getByTestId("login-submit").click();
    await outside.page.getByTestId("login-trouble").waitFor();
    await shot("door-account", outside.page);
    await outside.page.getByTestId("login-by-token").click();
    await outside.page.getByTestId("login-token").fill("certainly-wrong");
    await outside.page.getByTestId("login-submit").click();
    await outside.page.getByTestId("login-trouble").waitFor();
    const faults = await axe(outside.page);
    claim(faults.length === 0, faults.join("\n"));
    await shot("door", outside.page);
    await outside.page.getByTestId("login-token").fill(token);
    await outside.page.getByTestId("login-submit").click();
    await outside.page.getByTestId("screen").waitFor();
    claim(outside.guards.foreign.length === 0, `foreign requests: ${outside.guards.foreign.join(", ")}`);
    await outside.context.close();
    return {};
  },

  async guards() {
    for (const [what, seen] of Object.entries(guards))
      claim(seen.length === 0, `${what}: ${seen.join("; ")}`);
    return {};
  },
};

const wanted = process.argv.slice(2);
for (const name of wanted)
  if (!(name in steps)) throw new Error(`no step is called ${name}: ${Object.keys(steps).join(", ")}`);
let failed = false;
for (const [name, step] of Object.entries(steps)) {
  if (wanted.length > 0 && name !== "open" && !wanted.includes(name)) continue;
  const from = Date.now();
  try {
    const told = await step();
    console.log(JSON.stringify({ step: name, ok: true, took_ms: Date.now() - from, ...told }));
  } catch (error) {
    console.log(
      JSON.stringify({ step: name, ok: false, took_ms: Date.now() - from, error: error.message, guards }),
    );
    await shot(`failed-${name}`).catch(() => undefined);
    failed = true;
    break;
  }
}
await browser.close();
process.exitCode = failed ? 1 : 0;
