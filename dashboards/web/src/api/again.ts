// Questions that are asked again and again while something is shown.
import { ApiError } from "./client";

/** Whether the server knows no session or does not let this one have it: the same question would be answered alike. */
export const isDenied = (error: unknown) =>
  error instanceof ApiError && (error.status === 401 || error.status === 403);

/**
 * Asks now and `everyMs` after each answer until the returned function is called; nothing is told after that. What is
 * denied is told as failed and not asked for again: a new session has to begin anew.
 */
export function askEvery<T>(
  everyMs: number,
  ask: () => Promise<T>,
  told: (answer: T) => void,
  failed: (error: unknown) => void = () => undefined,
): () => void {
  let over = false;
  let again: ReturnType<typeof setTimeout> | undefined;
  const once = async () => {
    let denied = false;
    try {
      const answer = await ask();
      if (!over) told(answer);
    } catch (error) {
      denied = isDenied(error);
      if (!over) failed(error);
    }
    if (!over && !denied) again = setTimeout(once, everyMs);
  };
  void once();
  return () => {
    over = true;
    clearTimeout(again);
  };
}

/** Between the end of one answer and the next question, at least. */
export const LEAST_REST_MS = 1_000;
/** What takes long is asked for less often, up to this. */
export const MOST_REST_MS = 5_000;
const RESTS_PER_ANSWER = 2;
const REST_AFTER_FAILURE_MS = 5_000;

/** How long to leave a server alone that took `tookMs` for an answer. */
export const restAfter = (tookMs: number) =>
  Math.min(MOST_REST_MS, Math.max(LEAST_REST_MS, tookMs * RESTS_PER_ANSWER));

/**
 * Many wishes, few questions: the first wish asks at once, those that come while an answer is awaited or within the
 * rest after it are one question together. A question that failed is wished for again, unless it was denied. Nothing is
 * told after `stop`.
 */
export function askWhenWished<T>(
  ask: () => Promise<T>,
  told: (answer: T) => void,
  failed: (error: unknown) => void,
): { wish: () => void; stop: () => void } {
  let over = false;
  let isAsking = false;
  let isWished = false;
  let rested = -Infinity;
  let later: ReturnType<typeof setTimeout> | undefined;
  const wish = () => {
    if (over || later !== undefined) return;
    isWished = true;
    if (!isAsking) later = setTimeout(once, Math.max(0, rested - performance.now()));
  };
  const once = async () => {
    later = undefined;
    isWished = false;
    isAsking = true;
    const from = performance.now();
    let least = 0;
    try {
      const answer = await ask();
      if (!over) told(answer);
    } catch (error) {
      if (!over) failed(error);
      isWished ||= !isDenied(error);
      least = REST_AFTER_FAILURE_MS;
    }
    isAsking = false;
    const to = performance.now();
    rested = to + Math.max(least, restAfter(to - from));
    if (isWished) wish();
  };
  return {
    wish,
    stop: () => {
      over = true;
      clearTimeout(later);
    },
  };
}
