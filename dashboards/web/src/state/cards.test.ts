import { afterEach, describe, expect, it, vi } from "vitest";
import { type Loopback, serve } from "../api/loopback";
import type { Card, CardMember } from "../api/types";
import {
  bondOf,
  cards,
  cardsFailure,
  FIRST_PAGE,
  followCards,
  nextPage,
  pageBefore,
  rangeOf,
  wantCards,
  wishCards,
} from "./cards";

const member = (device: string): CardMember => ({
  id: device,
  rule: "r",
  rule_name: { zh: "", en: "" },
  severity: "minor",
  condition: "abnormal",
  acknowledged: false,
  device,
  quantity: "water_level",
  device_name: null,
  device_name_en: null,
  raised_at: "",
  changed_at: "",
  value: null,
});

function card(kind: Card["kind"], alerts: number, devices: string[]): Card {
  const counts = { alerts, devices: new Set(devices).size, critical: 0, major: 0, minor: alerts, notice: 0 };
  return {
    id: "c",
    kind,
    cause: { id: "river", zh: "", en: "" },
    gateway: null,
    headline: { zh: "", en: "" },
    severity: "minor",
    condition: "abnormal",
    acknowledged: false,
    counts: { ...counts, abnormal: alerts, unknown: 0, normal: 0, acknowledged: 0, unacknowledged: alerts },
    raised_at: "",
    changed_at: "",
    chatter: null,
    bounds: null,
    position: null,
    members: devices.slice(0, 10).map(member),
  };
}

describe("why alarms are one card", () => {
  const entities: Record<string, string | null> = {
    up: "reach/HS1",
    down: "reach/HS1",
    lake: "water/9",
    street: null,
  };
  const of = (one: Card) =>
    bondOf(one, (id) => (id in entities ? { entity: entities[id] ?? null } : undefined));

  it("is said as far as it is known", () => {
    expect(of(card("gateway", 401, ["gw"]))).toBe("gateway");
    expect(of(card("series", 3, ["up"]))).toBe("series");
    expect(of(card("place", 2, ["up", "up"]))).toBe("device");
    expect(of(card("place", 2, ["up", "down"]))).toBe("reach");
    expect(of(card("place", 2, ["up", "lake"]))).toBe("place");
    expect(of(card("place", 2, ["street", "street2"]))).toBe("place");
    const network = { medium: "drain", zh: "雨水管网", en: "drain network" };
    expect(of({ ...card("place", 2, ["street", "street2"]), network })).toBe("network");
    // Ten of twelve are listed: where the others stand is not known.
    expect(of({ ...card("place", 12, ["up", "down"]) })).toBe("place");
  });

  it("is nothing for an alarm alone", () => {
    expect(of(card("place", 1, ["up"]))).toBeNull();
    expect(of(card("series", 1, ["up"]))).toBeNull();
  });
});

describe("the pages of a card", () => {
  it("go on behind the last alarm of each and back to the first", () => {
    const first = { ...FIRST_PAGE, next: "a20" };
    const second = nextPage(first);
    expect(second).toEqual({ after: ["a20"], next: null });
    expect(nextPage(second)).toEqual(second);
    const third = nextPage({ ...second, next: "a40" });
    expect(pageBefore(third).after).toEqual(["a20"]);
    expect(pageBefore(pageBefore(third)).after).toEqual([]);
    expect(pageBefore(FIRST_PAGE)).toEqual(FIRST_PAGE);
  });

  it("say which alarms they hold", () => {
    expect(rangeOf(FIRST_PAGE, 20, 20)).toEqual({ from: 1, to: 20 });
    expect(rangeOf({ after: ["a", "b"], next: null }, 20, 3)).toEqual({ from: 41, to: 43 });
    expect(rangeOf(FIRST_PAGE, 20, 0)).toEqual({ from: 0, to: 0 });
  });
});

describe("the cards as the server has them", () => {
  let server: Loopback | undefined;
  let stop = () => {};
  afterEach(async () => {
    stop();
    await server?.end();
  });
  const list = (n: number) => ({
    items: [card("place", 2, ["up", "down"])],
    total: n,
    alerts: n,
    shelved: 0,
  });

  it("stay what they were while the server says that nothing changed", async () => {
    const tags: (string | null)[] = [];
    server = await serve((_, __, ___, headers) => {
      const tag = headers["if-none-match"] ?? null;
      tags.push(tag as string | null);
      if (tag === '"1"') return { status: 304, bytes: new Uint8Array() };
      return { body: list(7), headers: { etag: '"1"' } };
    });
    stop = followCards();
    await vi.waitFor(() => expect(cards.value?.total).toBe(7));
    const before = cards.value;
    wishCards();
    await vi.waitFor(() => expect(tags).toEqual([null, '"1"']), 5_000);
    expect(cards.value).toBe(before);
    expect(cardsFailure.value).toBeNull();
  });

  it("are asked for anew, and without the tag, when more of them are wanted", async () => {
    server = await serve((url) => ({
      body: list(Number(url.searchParams.get("limit"))),
      headers: { etag: `"${url.search}"` },
    }));
    stop = followCards();
    await vi.waitFor(() => expect(cards.value?.total).toBe(40));
    wantCards(60);
    await vi.waitFor(() => expect(cards.value?.total).toBe(80), 5_000);
    wantCards(99_999);
    await vi.waitFor(() => expect(cards.value?.total).toBe(1_000), 5_000);
    wantCards(20);
    expect(server.asked.at(-1)).toContain("limit=1000");
  });

  it("stay while they cannot be had, with the reason beside them", async () => {
    let isAway = false;
    server = await serve(() => (isAway ? { status: 503, body: { code: "x" } } : { body: list(1) }));
    stop = followCards();
    await vi.waitFor(() => expect(cards.value?.total).toBe(1));
    isAway = true;
    wishCards();
    await vi.waitFor(() => expect(cardsFailure.value?.key).toBe("failed.unavailable"), 5_000);
    expect(cards.value?.total).toBe(1);
  });
});
