// What the server says of why an alarm is what it is, made ready to be read. Pure.
import type { Explanation } from "../api/types";

/** The four panels of an alarm, in the order of the city's four words. */
export const PANELS = ["evidence", "place", "forecast", "control"] as const;

export type Holding = "holds" | "holds_not" | "holds_unknown";

/** Not known is a word of its own and never a no. */
export const holdingOf = (holds: boolean | null | undefined): Holding =>
  holds === true ? "holds" : holds === false ? "holds_not" : "holds_unknown";

/** An amount without the zeros at its end; what it is of stands in the sentence before it. */
export const amountText = (amount: number): string => String(Number(amount.toPrecision(6)));

/** Readings that are shown. */
const N_INPUTS = 6;

/** The newest readings that an alarm rests on, the newest first. */
export function newestInputs(inputs: Explanation["inputs"]): Explanation["inputs"] {
  return [...inputs].sort((a, b) => Date.parse(b.measured_at) - Date.parse(a.measured_at)).slice(0, N_INPUTS);
}

/** The device, quantity and channel that an input is of, when that is another series than the alarm's. */
export function seriesOf(of: Explanation["inputs"][number]["of"]): {
  device: string;
  quantity: string;
  ch: number;
} | null {
  if (of === undefined || of === null) return null;
  if (typeof of !== "string") return of;
  const parts = of.split("/");
  const ch = Number(parts.at(-1));
  const quantity = parts.at(-2);
  if (quantity === undefined || parts.length < 3 || !Number.isInteger(ch)) return null;
  return { device: parts.slice(0, -2).join("/"), quantity, ch };
}
