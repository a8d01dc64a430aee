import { afterEach, describe, expect, it } from "vitest";
import { type Loopback, problem, serve } from "../api/loopback";
import { AGAIN_AFTER_ABSENCE_MS, AGAIN_AFTER_FAILURE_MS, learnRules, looksAhead, rulesAhead } from "./rules";

const sentence = (en: string) => ({ sentence: { zh: "", en } });
const ahead =
  "Water level is foreseen above 2.5 m within 3 h (quantile 0.9); over when foreseen at or below 2.4 m";
const measured = "Water level above 2.5 m for 10 min; over when at or below 2.4 m";
const alert = (rule: string, rule_version = "1") => ({ rule, rule_version });
const file = (...rules: [id: string, version: string, en: string][]) => ({
  body: {
    items: [{ rules: rules.map(([id, version, en]) => ({ id, version, ...sentence(en) })) }],
    next: null,
  },
});

describe("rules that look ahead", () => {
  it.each([
    [ahead, true],
    ["Flow is foreseen below 3 m³/s within 90 min; over when foreseen at or above 4 m³/s", true],
    [measured, false],
    ["The device sends nothing for more than 3 of its cadences; over when data is back", false],
    ["", false],
  ])("are known by what the server says of them: %s", (en, is) => {
    expect(looksAhead(sentence(en))).toBe(is);
  });
});

describe("the rules of alarms", () => {
  let server: Loopback | undefined;
  afterEach(() => server?.end());

  it("are asked for when one is not known, and those that are absent once in a while", async () => {
    let files = file(["flood", "1", measured]);
    server = await serve(() => files);
    await Promise.all([learnRules(alert("flood"), 0), learnRules(alert("gone"), 0)]);
    expect(server.asked).toEqual(["/api/v1/rules"]);
    expect([...rulesAhead.value]).toEqual([]);
    await learnRules(alert("gone"), 1);
    for (let now = 2; now < 1_000; now += 100)
      for (const rule of ["flood", "gone"]) await learnRules(alert(rule), now);
    expect(server.asked).toHaveLength(2);
    // Another one is there at once, whatever is absent.
    files = file(["flood", "1", measured], ["flood-ahead", "1", ahead]);
    await learnRules(alert("flood-ahead"), 1_000);
    expect([...rulesAhead.value]).toEqual(["flood-ahead"]);
    expect(server.asked).toHaveLength(3);
    await learnRules(alert("gone"), 1 + AGAIN_AFTER_ABSENCE_MS);
    expect(server.asked).toHaveLength(4);
  });

  it("that may not be seen, or give no answer, mark no alarm and are not asked for with each", async () => {
    rulesAhead.value = new Set();
    let status = 403;
    server = await serve(() => (status === 200 ? file(["new", "1", ahead]) : problem(status, "forbidden")));
    for (let now = 2e6; now < 2e6 + AGAIN_AFTER_FAILURE_MS; now += 1_000) await learnRules(alert("new"), now);
    expect(server.asked).toHaveLength(1);
    expect(rulesAhead.value.has("new")).toBe(false);
    status = 200;
    await learnRules(alert("new"), 2e6 + AGAIN_AFTER_FAILURE_MS);
    expect(rulesAhead.value.has("new")).toBe(true);
  });
});
