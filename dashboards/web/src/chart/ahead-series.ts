// How forecasts are drawn beside the course of a series: bands, the median, the mark of now, what was foreseen before.
import type { Ahead, At, Span } from "./ahead";

export type Foreseen = {
  /** Null while nothing of now, or of before, is there to draw. */
  ahead: Ahead | null;
  /** The forecast is one of the past: grey, never as one of now. */
  isOld: boolean;
  past: { line: [number, number | null][]; band: Span[][] } | null;
  now: number;
  /** The right end of the axis. */
  to: number;
  words: { observed: string; ahead: string; past: string; now: string };
  /** The interval at a time, as the tip says it. */
  bandText(low: number, high: number): string;
};

const INK = { ahead: "#e3edf8", band: "#9cc3ee", old: "#7d8ea3", past: "#f0a6d2", now: "#eaf2fb" };
/** As the chart's own axis. */
const BEIJING_MS = 8 * 3_600_000;

/** All values that have to be in view. */
export const foreseenValues = ({ ahead, past }: Foreseen): number[] => [
  ...(ahead
    ? [...ahead.median.map(([, v]) => v), ...ahead.band80.flatMap(([, low, high]) => [low, high])]
    : []),
  ...(past?.line.flatMap(([, v]) => (v === null ? [] : [v])) ?? []),
  ...(past?.band.flat().flatMap(([, low, high]) => [low, high]) ?? []),
];

type Corner = (at: readonly [number, number]) => number[];

/** An area between two lines, drawn once: it belongs to no single value, and no tip speaks of it. */
function area(id: string, spans: readonly Span[], colour: string, opacity: number) {
  const [first] = spans;
  return {
    id,
    type: "custom",
    silent: true,
    clip: true,
    tooltip: { show: false },
    data: first ? [[first[0] + BEIJING_MS, first[1]]] : [],
    renderItem: (_: unknown, { coord }: { coord: Corner }) => ({
      type: "polygon",
      shape: {
        points: [
          ...spans.map(([at, , high]) => coord([at + BEIJING_MS, high])),
          ...[...spans].reverse().map(([at, low]) => coord([at + BEIJING_MS, low])),
        ],
      },
      style: { fill: colour, opacity },
    }),
  };
}

type Pixels = (n: number) => number;
type Font = { fontFamily: string; fontSize: number; color: string };

/** The series of ECharts, to be drawn below the observed one. */
export function foreseenSeries(foreseen: Foreseen, px: Pixels, font: Font): object[] {
  const { ahead, past, isOld, words } = foreseen;
  const drawn: object[] = [];
  if (past) {
    const notes = notesOf(past.band.flat(), foreseen.bandText);
    drawn.push(
      ...past.band.map((spans, i) => area(`past-band-${i}`, spans, INK.past, 0.13)),
      line("past", words.past, past.line, INK.past, [px(2), px(2)], px(1.4), notes),
    );
  }
  if (ahead) {
    const band = isOld ? INK.old : INK.band;
    const ink = isOld ? INK.old : INK.ahead;
    const notes = notesOf(ahead.band80, foreseen.bandText);
    drawn.push(
      area("band80", ahead.band80, band, isOld ? 0.14 : 0.2),
      area("band50", ahead.band50, band, isOld ? 0.14 : 0.26),
      {
        ...line("ahead", words.ahead, ahead.median, ink, [px(5), px(3)], px(1.8), notes),
        symbol: "circle",
        symbolSize: px(5),
      },
    );
  }
  return [...drawn, nowMark(foreseen, px, font)];
}

const notesOf = (spans: readonly Span[], text: Foreseen["bandText"]) =>
  new Map(spans.flatMap(([at, low, high]) => (low < high ? [[at, text(low, high)] as const] : [])));

function line(
  id: string,
  name: string,
  points: readonly (At | [number, number | null])[],
  colour: string,
  dash: number[],
  width: number,
  notes: ReadonlyMap<number, string>,
) {
  return {
    id,
    name,
    type: "line",
    connectNulls: false,
    symbol: "none",
    lineStyle: { color: colour, type: dash, width },
    itemStyle: { color: colour },
    data: points.map(([at, v]) => ({ value: [at + BEIJING_MS, v], note: notes.get(at) })),
  };
}

/** A line without values that bears the mark of now. */
function nowMark({ now, words, to }: Foreseen, px: Pixels, font: Font) {
  return {
    id: "now",
    type: "line",
    data: [],
    tooltip: { show: false },
    markLine: {
      silent: true,
      symbol: "none",
      // At the right end there is no room for words.
      data: to <= now ? [] : [{ xAxis: now + BEIJING_MS }],
      lineStyle: { color: INK.now, type: "solid", width: px(1), opacity: 0.7 },
      label: { ...font, color: INK.now, formatter: words.now, position: "end", distance: px(3) },
    },
  };
}
