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
