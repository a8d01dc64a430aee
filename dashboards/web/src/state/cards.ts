// The open alarms by incident, as the server folds and orders them.
//
// The stream says that alarms changed, not how cards did: many changes are one question, and an answer that is the same
// as before costs a 304.
import { effect, signal } from "@preact/signals";
import { askWhenWished } from "../api/again";
import { api } from "../api/client";
import type { Card, CardList, Device } from "../api/types";
import { type Failure, failureOf } from "./failure";
import { renewals } from "./session";

/** Cards that are fetched at first, and the most that the server lists. */
const N_FIRST = 40;
const N_MOST = 1_000;
/** Cards change by what is not told as an alarm, too: a gateway is heard again, a device gets another place. */
const EVERY_MS = 30_000;

/** As last told; null before the first answer. */
export const cards = signal<CardList | null>(null);
/** Why the last question had no answer; the answer before stays. */
export const cardsFailure = signal<Failure | null>(null);
/** How many are asked for. */
const limit = signal(N_FIRST);

let wishNow: () => void = () => undefined;

/** Some alarm changed: the cards may be others. */
export const wishCards = (): void => wishNow();

/** Has so many cards fetched, as far as there are so many. */
export function wantCards(n: number): void {
  const wanted = Math.min(N_MOST, Math.ceil(n / N_FIRST) * N_FIRST);
  if (wanted > limit.peek()) limit.value = wanted;
}

/** Keeps the cards true until the returned function is called. */
export function followCards(): () => void {
  let known: { limit: number; tag: string | null } | null = null;
  const question = askWhenWished(
    async () => {
      const n = limit.peek();
      const answer = await api.cards(n, known?.limit === n ? known.tag : null);
      return { n, answer };
    },
    ({ n, answer }) => {
      cardsFailure.value = null;
      if (answer === null) return;
      known = { limit: n, tag: answer.tag };
      cards.value = answer.body;
    },
    (error) => {
      cardsFailure.value = failureOf(error);
    },
  );
  wishNow = question.wish;
  const ends = effect(() => {
    void limit.value;
    void renewals.value;
    question.wish();
  });
  const regular = setInterval(question.wish, EVERY_MS);
  return () => {
    ends();
    clearInterval(regular);
    question.stop();
    wishNow = () => undefined;
    cards.value = null;
    cardsFailure.value = null;
    limit.value = N_FIRST;
  };
}

export type Bond = "gateway" | "network" | "reach" | "place" | "device" | "series";

const WATERS = /^(reach|water)\b/;

/**
 * What holds the alarms of a card together; null for one alone. `deviceOf` says what the register has of a device. One
 * stretch of water is said only where all alarms are known to stand on the same.
 */
export function bondOf(
  card: Card,
  deviceOf: (id: string) => Pick<Device, "entity"> | undefined,
): Bond | null {
  if (card.kind === "gateway") return "gateway";
  if (card.counts.alerts < 2) return null;
  if (card.kind === "series") return "series";
  if (card.counts.devices < 2) return "device";
  if (card.network) return "network";
  const members = card.members ?? [];
  const [first = null, ...others] = members.map(({ device }) => deviceOf(device)?.entity ?? null);
  const isOne = members.length === card.counts.alerts && others.every((entity) => entity === first);
  return isOne && first !== null && WATERS.test(first) ? "reach" : "place";
}

/** What a page of a card's alarms shows, and how to get to the ones beside it. Pages are held by the alarm before them. */
export type Pages = { after: readonly string[]; next: string | null };

export const FIRST_PAGE: Pages = { after: [], next: null };

export const nextPage = ({ after, next }: Pages): Pages =>
  next === null ? { after, next } : { after: [...after, next], next: null };

export const pageBefore = ({ after }: Pages): Pages => ({ after: after.slice(0, -1), next: null });

/** Which alarms of how many, from 1: the last number is at most the total. */
export function rangeOf({ after }: Pages, size: number, shown: number): { from: number; to: number } {
  const before = after.length * size;
  return { from: shown === 0 ? 0 : before + 1, to: before + shown };
}
