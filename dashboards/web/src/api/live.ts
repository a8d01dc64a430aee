// The one live stream (SSE) and the watch over it.
//
// A stream can die loudly (an error) or silently (a half-open connection, a stuck server). Both must
// show within five seconds: the server beats every two seconds, so four seconds without any event mean
// that nothing is known any more.
import type { Alert, LiveBeat, LiveDevices, LiveHello, LiveMoves, LiveValues } from "./types";

/** Without any event for this long the picture counts as standing still. */
export const SILENCE_MS = 4_000;
/** An open stream that stays silent this long is given up and opened anew. */
const REOPEN_MS = 9_000;
const RETRY_MS = [500, 1_000, 1_500, 2_000];
const CHECK_MS = 250;

export type LiveHandlers = {
  hello(data: LiveHello): void;
  values(data: LiveValues): void;
  devices(data: LiveDevices): void;
  moves(data: LiveMoves): void;
  alert(data: Alert): void;
  register(): void;
  resync(): void;
  beat(data: LiveBeat): void;
  /** Called when contact is lost (`false`) or there again (`true`). */
  contact(alive: boolean): void;
  /** Called after each failure of the stream: perhaps the session has ended. */
  failed(): void;
};

/** Whether a stream whose last event came at `last` counts as alive at `now` (milliseconds). */
export function isAlive(last: number, now: number): boolean {
  return now - last <= SILENCE_MS;
}

/** Opens the stream and keeps it open until the returned function is called. */
export function openLive(on: LiveHandlers): () => void {
  let source: EventSource | null = null;
  let lastEvent = performance.now();
  let openedAt = lastEvent;
  // Not known until the first event or the first four seconds.
  let alive: boolean | null = null;
  let failures = 0;
  let retry: ReturnType<typeof setTimeout> | undefined;

  const setAlive = (next: boolean) => {
    if (next === alive) return;
    alive = next;
    on.contact(next);
  };

  const connect = () => {
    retry = undefined;
    source?.close();
    openedAt = performance.now();
    const stream = new EventSource("/api/v1/live");
    source = stream;
    const listen = <T>(name: string, take: (data: T) => void) => {
      stream.addEventListener(name, (event) => {
        if (source !== stream) return;
        let data: T;
        try {
          data = JSON.parse((event as MessageEvent<string>).data || "null") as T;
        } catch (error) {
          // A garbled event is not a sign of life.
          console.warn(`live event ${name} is not JSON`, error);
          return;
        }
        lastEvent = performance.now();
        failures = 0;
        take(data);
        setAlive(true);
      });
    };
    listen("hello", on.hello);
    listen("values", on.values);
    listen("devices", on.devices);
    listen("moves", on.moves);
    listen("alert", on.alert);
    listen("register", on.register);
    listen("resync", on.resync);
    listen("beat", on.beat);
    stream.onerror = () => {
      if (source !== stream) return;
      stream.close();
      source = null;
      setAlive(false);
      failures += 1;
      on.failed();
      retry = setTimeout(connect, RETRY_MS[Math.min(failures, RETRY_MS.length) - 1]);
    };
  };

  const watch = setInterval(() => {
    const now = performance.now();
    if (alive !== false && !isAlive(lastEvent, now)) setAlive(false);
    if (retry === undefined && now - Math.max(lastEvent, openedAt) > REOPEN_MS) connect();
  }, CHECK_MS);

  connect();
  return () => {
    clearInterval(watch);
    if (retry !== undefined) clearTimeout(retry);
    source?.close();
    source = null;
  };
}
