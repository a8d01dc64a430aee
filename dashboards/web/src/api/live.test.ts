import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { isAlive, openLive, SILENCE_MS } from "./live";

/** Stands in for the browser's EventSource; a test speaks for the server. */
class FakeSource {
  static opened: FakeSource[] = [];
  onerror: (() => void) | null = null;
  closed = false;
  private readonly takers = new Map<string, (event: { data: string }) => void>();
  constructor(readonly url: string) {
    FakeSource.opened.push(this);
  }
  addEventListener(name: string, take: (event: { data: string }) => void) {
    this.takers.set(name, take);
  }
  close() {
    this.closed = true;
  }
  say(name: string, data: unknown) {
    this.takers.get(name)?.({ data: typeof data === "string" ? data : JSON.stringify(data) });
  }
}
const newest = () => FakeSource.opened.at(-1) as FakeSource;
const beat = { t: 1, lag: 0, counts: {} };

function watch() {
  const contact: boolean[] = [];
  let failed = 0;
  const nothing = () => undefined;
  const stop = openLive({
    hello: nothing,
    values: nothing,
    devices: nothing,
    moves: nothing,
    alert: nothing,
    register: nothing,
    resync: nothing,
    beat: nothing,
    contact: (alive) => contact.push(alive),
    failed: () => {
      failed += 1;
    },
  });
  return { contact, stop, failed: () => failed };
}

beforeEach(() => {
  FakeSource.opened = [];
  vi.useFakeTimers();
  vi.stubGlobal("EventSource", FakeSource);
});
afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
  vi.restoreAllMocks();
});

describe("the watch over the stream", () => {
  it("counts four seconds as alive and not a moment more", () => {
    expect(isAlive(0, SILENCE_MS)).toBe(true);
    expect(isAlive(0, SILENCE_MS + 1)).toBe(false);
  });

  it("tells within five seconds that a silent server is lost, and that it is back", () => {
    const { contact, stop } = watch();
    newest().say("beat", beat);
    vi.advanceTimersByTime(3_900);
    expect(contact).toEqual([true]);
    vi.advanceTimersByTime(1_000);
    expect(contact).toEqual([true, false]);
    newest().say("beat", beat);
    expect(contact).toEqual([true, false, true]);
    stop();
  });

  it("tells at once of a broken stream and opens another", () => {
    const { contact, stop } = watch();
    newest().say("beat", beat);
    newest().onerror?.();
    expect(contact).toEqual([true, false]);
    vi.advanceTimersByTime(500);
    expect(FakeSource.opened).toHaveLength(2);
    newest().say("hello", { t: 1 });
    expect(contact).toEqual([true, false, true]);
    stop();
  });

  it("says that there was never any contact when nothing ever comes", () => {
    const { contact, stop } = watch();
    vi.advanceTimersByTime(5_000);
    expect(contact).toEqual([false]);
    stop();
  });

  it("gives up a stream that stays open and silent", () => {
    const { stop } = watch();
    newest().say("beat", beat);
    const first = newest();
    vi.advanceTimersByTime(10_000);
    expect(first.closed).toBe(true);
    expect(FakeSource.opened.length).toBeGreaterThan(1);
    stop();
  });

  it("does not take garbled events for a sign of life", () => {
    vi.spyOn(console, "warn").mockImplementation(() => undefined);
    const { contact, stop } = watch();
    newest().say("beat", "{broken");
    expect(contact).toEqual([]);
    stop();
  });

  it("asks about the session whenever it is turned away, and stops when told", () => {
    const { failed, stop } = watch();
    for (let i = 0; i < 3; i += 1) {
      newest().onerror?.();
      vi.advanceTimersByTime(3_000);
    }
    expect(failed()).toBe(3);
    stop();
    const n = FakeSource.opened.length;
    vi.advanceTimersByTime(60_000);
    expect(FakeSource.opened).toHaveLength(n);
    expect(newest().closed).toBe(true);
  });
});
