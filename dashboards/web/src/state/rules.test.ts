import { afterEach, describe, expect, it } from "vitest";
import { type Loopback, problem, serve } from "../api/loopback";
import { AGAIN_AFTER_ABSENCE_MS, AGAIN_AFTER_FAILURE_MS, learnRules, rulesAhead } from "./rules";

const [ahead, measured] = [true, false];
const alert = (rule: string, rule_version = "1") => ({ rule, rule_version });
const file = (...rules: [id: string, version: string, looksAhead: boolean][]) => ({
  body: {
    items: [{ rules: rules.map(([id, version, looks_ahead]) => ({ id, version, looks_ahead })) }],
    next: null,
  },
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
