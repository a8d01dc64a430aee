// Pages of a list that goes back in time, one shown at a time. Pure.

/** Where each page begins that was turned to, the newest first; the last one shows. Null is the list's own beginning. */
export type Trail = readonly [null, ...string[]];

export const NEWEST: Trail = [null];

/** Where the shown page begins. */
export const shownOf = (trail: Trail): string | null => trail[trail.length - 1] ?? null;

/** One page further back; `next` is what the shown one names, null at the end. */
export const older = (trail: Trail, next: string | null): Trail => (next === null ? trail : [...trail, next]);

/** One page nearer to now. */
export const newer = ([first, ...rest]: Trail): Trail => [first, ...rest.slice(0, -1)];
