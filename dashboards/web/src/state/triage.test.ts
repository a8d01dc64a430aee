import { describe, expect, it } from "vitest";
import type { Alert } from "../api/types";
import { actsOn, byNeed, byReturn, edgesBetween } from "./triage";

const alert = (id: string, more: Partial<Alert> = {}): Alert => ({
  id,
  rule: "r",
  rule_version: "00000000",
  rule_name: { zh: "规则", en: "Rule" },
  severity: "minor",
  state: "open",
  condition: "abnormal",
  acknowledged: null,
  series: { id: 1, device: "d", quantity: "pm10", ch: 0 },
  device_name: "设备",
  position: null,
  division: null,
  raised_at: "2026-11-23T08:00:00+08:00",
  ended_at: null,
  message: { zh: "", en: "" },
  advice: { zh: "", en: "" },
  inputs: [],
  value: null,
  threshold: null,
  ...more,
});
const taken = {
  actor: "a",
  name: "王队",
  note: "",
  at: "2026-11-23T08:05:00+08:00",
  until: "2026-11-23T09:05:00+08:00",
};

describe("what may be done with an alarm", () => {
  const officer = (permission: string) => ["view", "handle_alerts", "evidence"].includes(permission);
  const operator = (permission: string) => ["view", "handle_alerts", "shelve_alerts"].includes(permission);
  const viewer = (permission: string) => permission === "view";
  const auditor = (permission: string) => ["audit", "evidence"].includes(permission);

  it("is for who holds the permission only", () => {
    expect(actsOn(alert("a"), officer)).toEqual(["acknowledge", "assign", "close", "evidence"]);
    expect(actsOn(alert("a"), operator)).toEqual(["acknowledge", "assign", "shelve", "close"]);
    expect(actsOn(alert("a"), viewer)).toEqual([]);
    expect(actsOn(alert("a"), auditor)).toEqual(["evidence"]);
  });

  it("is acknowledged once", () => {
    expect(actsOn(alert("a", { acknowledged: taken }), officer)).toEqual(["assign", "close", "evidence"]);
  });

  it("is nothing but to take the evidence of what was over when it was found", () => {
    const past = { from: "2026-11-21T08:00:00+08:00", until: "2026-11-21T09:00:00+08:00", peak: null };
    expect(actsOn(alert("a", { past }), officer)).toEqual(["evidence"]);
    expect(actsOn(alert("a", { past }), operator)).toEqual([]);
  });

  it("is put aside, and brought back from there", () => {
    expect(actsOn(alert("a", { shelved: taken }), operator)).toEqual([
      "acknowledge",
      "assign",
      "unshelve",
      "close",
    ]);
  });
});

describe("what needs a person first", () => {
  it("puts every unacknowledged alarm before every acknowledged one, then the worst, then the newest", () => {
    const order = [
      alert("taken-critical", { severity: "critical", acknowledged: taken }),
      alert("notice", { severity: "notice" }),
      alert("old-critical", { severity: "critical" }),
      alert("new-critical", { severity: "critical", raised_at: "2026-11-23T08:01:00+08:00" }),
      alert("lost-critical", {
        severity: "critical",
        condition: "unknown",
        raised_at: "2026-11-23T09:00:00+08:00",
      }),
      alert("major", { severity: "major" }),
    ]
      .sort(byNeed)
      .map((a) => a.id);
    expect(order).toEqual([
      "new-critical",
      "old-critical",
      "lost-critical",
      "major",
      "notice",
      "taken-critical",
    ]);
  });

  it("puts every drill behind all that is real", () => {
    const drill = alert("drill", { severity: "critical", drill: "d1" });
    const notice = alert("notice", { severity: "notice", acknowledged: taken });
    expect([drill, notice].sort(byNeed).map((a) => a.id)).toEqual(["notice", "drill"]);
  });

  it("is a total order: equal times are told apart by id", () => {
    expect(byNeed(alert("a"), alert("b"))).toBeLessThan(0);
    expect(byNeed(alert("b"), alert("a"))).toBeGreaterThan(0);
  });
});

describe("what is shelved", () => {
  const until = (id: string, time: string) => alert(id, { shelved: { ...taken, until: time } });

  it("stands in the order in which it comes back", () => {
    const order = [
      until("late", "2026-11-24T09:00:00+08:00"),
      until("soon", "2026-11-23T09:00:00+08:00"),
    ].sort(byReturn);
    expect(order.map((a) => a.id)).toEqual(["soon", "late"]);
  });
});

describe("what happened between two pictures of an alarm", () => {
  const now = Date.parse("2026-11-23T10:00:00+08:00");
  const names = (before: Alert | undefined, after: Alert) =>
    edgesBetween(before, after, now).map((e) => e.edge);

  it("tells each edge once", () => {
    expect(names(undefined, alert("x"))).toEqual(["raised"]);
    expect(names(alert("x"), alert("x"))).toEqual([]);
    expect(names(alert("x"), alert("x", { condition: "unknown" }))).toEqual(["lost"]);
    expect(names(alert("x", { condition: "unknown" }), alert("x"))).toEqual(["found"]);
    expect(names(alert("x"), alert("x", { acknowledged: taken }))).toEqual(["acknowledged"]);
    expect(names(alert("x", { acknowledged: taken }), alert("x"))).toEqual(["acknowledgement_expired"]);
  });

  it("tells the whole story of an alarm first seen when it had ended", () => {
    const ended = alert("x", { state: "closed", acknowledged: taken, ended_at: "2026-11-23T09:00:00+08:00" });
    expect(names(undefined, ended)).toEqual(["raised", "acknowledged", "closed"]);
    expect(edgesBetween(undefined, ended, now)[2]?.at).toBe(Date.parse("2026-11-23T09:00:00+08:00"));
  });

  it("tells what people said of it, and whose word ran out", () => {
    const shelved = alert("x", { shelved: { ...taken, until: "2026-11-23T12:00:00+08:00" } });
    const assigned = alert("x", { assigned: { ...taken, to: "李工" } });
    expect(names(alert("x"), shelved)).toEqual(["shelved"]);
    expect(names(shelved, alert("x"))).toEqual(["unshelved"]);
    expect(names(alert("x", { shelved: taken }), alert("x"))).toEqual(["shelf_expired"]);
    expect(names(alert("x"), assigned)).toEqual(["assigned"]);
    expect(names(assigned, assigned)).toEqual([]);
  });

  it("is nothing for what was over when it was found: the strip stands still", () => {
    const past = { from: "2026-11-21T08:00:00+08:00", until: "2026-11-21T09:00:00+08:00", peak: 7 };
    const found = alert("x", { state: "cleared", condition: "normal", ended_at: past.until, past });
    expect(names(undefined, found)).toEqual([]);
    expect(names(found, found)).toEqual([]);
  });

  it("is that the drill is over, and not what was said of it within the drill", () => {
    const drilled = alert("x", { drill: "d1", acknowledged: taken, shelved: taken });
    expect(names(undefined, drilled)).toEqual(["raised", "acknowledged", "shelved"]);
    expect(names(drilled, alert("x"))).toEqual(["drill_over"]);
    expect(names(drilled, alert("x", { drill: "d2", acknowledged: taken, shelved: taken }))).toEqual([]);
    expect(names(alert("x", { drill: "d1" }), alert("x", { drill: "d1", state: "cleared" }))).toEqual([
      "cleared",
    ]);
  });

  it("does not call an end a loss of data", () => {
    expect(names(alert("x"), alert("x", { state: "withdrawn", condition: "unknown" }))).toEqual([
      "withdrawn",
    ]);
  });
});
