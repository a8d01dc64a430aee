import { afterEach, describe, expect, it } from "vitest";
import { askEvery } from "./again";
import { api } from "./client";
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
