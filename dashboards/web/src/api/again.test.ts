import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { askEvery, askWhenWished, LEAST_REST_MS, MOST_REST_MS, restAfter } from "./again";
import { ApiError, api } from "./client";
import { type Answer, type Loopback, problem, serve } from "./loopback";

let server: Loopback | undefined;
afterEach(() => server?.end());

const EVERY_MS = 10;

/** Asks for the quarantine until `n` answers or refusals came, then for some turns more; how often it was asked. */
async function askedFor(n: number, answers: Answer[]): Promise<{ asked: number; told: string[] }> {
  server = await serve(() => answers[Math.min(server?.asked.length ?? 1, answers.length) - 1] ?? {});
  const told: string[] = [];
  let stop = () => {};
  await new Promise<void>((resolve) => {
    const count = (what: string) => {
      told.push(what);
      if (told.length === n) resolve();
    };
    stop = askEvery(
      EVERY_MS,
      api.quarantine,
      (items) => count(`${items.length} items`),
      (error) => count(String((error as { status?: number }).status)),
    );
  });
  await new Promise((later) => setTimeout(later, 10 * EVERY_MS));
  stop();
  return { asked: server.asked.length, told };
}

const page: Answer = { body: { items: [], next: null } };

describe("a question that is asked again and again", () => {
  it("ends with the answer that denies it", async () => {
    for (const [status, code] of [
      [401, "unauthorized"],
      [403, "forbidden"],
    ] as const) {
      expect(await askedFor(1, [problem(status, code)])).toEqual({ asked: 1, told: [`${status}`] });
      await server?.end();
    }
  });

  it("ends when it is denied later on", async () => {
    const { asked, told } = await askedFor(3, [page, page, problem(403, "forbidden")]);
    expect(told).toEqual(["0 items", "0 items", "403"]);
    expect(asked).toBe(3);
  });

  it("outlives a server that is busy, and what is not there yet", async () => {
    const { told } = await askedFor(4, [
      problem(503, "busy"),
      problem(429, "too_soon"),
      problem(404, "unknown_device"),
      page,
    ]);
    expect(told.slice(0, 4)).toEqual(["503", "429", "404", "0 items"]);
  });

  it("tells nothing once nobody wants to know", async () => {
    server = await serve(() => page);
    const told: string[] = [];
    const stop = askEvery(
      EVERY_MS,
      api.quarantine,
      () => told.push("told"),
      () => told.push("failed"),
    );
    stop();
    await new Promise((later) => setTimeout(later, 10 * EVERY_MS));
    expect(told).toEqual([]);
    expect(server.asked.length).toBe(1);
  });
});

describe("many wishes", () => {
  beforeEach(() => vi.useFakeTimers());
  afterEach(() => vi.useRealTimers());

  /** A question whose answer takes `ms`; how often it was asked, and what was told. */
  function question(ms: number, answer: (n: number) => string | ApiError = (n) => `${n}`) {
    const seen = { asked: 0, told: [] as string[] };
    const { wish, stop } = askWhenWished(
      async () => {
        seen.asked += 1;
        const said = answer(seen.asked);
        await new Promise((later) => setTimeout(later, ms));
        if (said instanceof ApiError) throw said;
        return said;
      },
      (said) => seen.told.push(said),
      (error) => seen.told.push(`failed ${(error as ApiError).status}`),
    );
    return { seen, wish, stop };
  }

  it("are one question at once and one more after the rest", async () => {
    const { seen, wish } = question(10);
    for (let i = 0; i < 10_000; i += 1) wish();
    await vi.advanceTimersByTimeAsync(5);
    for (let i = 0; i < 10_000; i += 1) wish();
    expect(seen.asked).toBe(1);
    await vi.advanceTimersByTimeAsync(LEAST_REST_MS + 20);
    expect(seen).toEqual({ asked: 2, told: ["1", "2"] });
    await vi.advanceTimersByTimeAsync(60_000);
    expect(seen.asked).toBe(2);
  });

  it("leave a slow server alone for longer, and never for good", () => {
    expect(restAfter(1)).toBe(LEAST_REST_MS);
    expect(restAfter(1_000)).toBe(2_000);
    expect(restAfter(60_000)).toBe(MOST_REST_MS);
  });

  it("are asked again after a failure, not after a denial, and never after the end", async () => {
    const away = question(10, (n) => (n === 1 ? new ApiError(503, "away") : "back"));
    away.wish();
    await vi.advanceTimersByTimeAsync(60_000);
    expect(away.seen).toEqual({ asked: 2, told: ["failed 503", "back"] });
    const denied = question(10, () => new ApiError(403, "no"));
    denied.wish();
    await vi.advanceTimersByTimeAsync(60_000);
    expect(denied.seen).toEqual({ asked: 1, told: ["failed 403"] });
    const over = question(10);
    over.wish();
    await vi.advanceTimersByTimeAsync(5);
    over.stop();
    over.wish();
    await vi.advanceTimersByTimeAsync(60_000);
    expect(over.seen).toEqual({ asked: 1, told: [] });
  });
});
