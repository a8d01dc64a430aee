// The course of one series on a canvas. Gaps stay gaps, limits and alarms are marked. Loaded when first needed.
import { CustomChart, LineChart } from "echarts/charts";
import {
  AriaComponent,
  GridComponent,
  MarkAreaComponent,
  MarkLineComponent,
  TooltipComponent,
} from "echarts/components";
import { type EChartsType, init, use } from "echarts/core";
import { CanvasRenderer } from "echarts/renderers";
import { type Foreseen, foreseenSeries, foreseenValues } from "./ahead-series";
import { roundAxis } from "./course";

use([
  LineChart,
  CustomChart,
  GridComponent,
  TooltipComponent,
  MarkLineComponent,
  MarkAreaComponent,
  AriaComponent,
  CanvasRenderer,
]);

/** `[ms, value]`; null is a gap. */
export type Point = [number, number | null];
export type CoursePicture = {
  points: Point[];
  from: number;
  to: number;
  /** What is foreseen, and what was; null for a series without. */
  foreseen: Foreseen | null;
  unit: string;
  decimals: number;
  /** A state code holds until the next one: drawn as steps. */
  stepped: boolean;
  /** Named at the left end of their line, those of forecasts at the right one. */
  thresholds: { value: number; text: string; isForeseen: boolean }[];
  alarms: { from: number; to: number; colour: string }[];
  stateNames: ReadonlyMap<number, string>;
  aria: string;
  /** CSS pixels for each pixel of the design. */
  scale: number;
  clock(ms: number): string;
  minute(ms: number): string;
  valueText(value: number): string;
};

const INK = {
  axis: "#2b3d54",
  grid: "#1b2a3d",
  text: "#9db0c6",
  line: "#5cc8ff",
  limit: "#ff9340",
  behind: "#0d1726c0",
};
/** ECharts writes its axis in UTC when told to; shifted by eight hours that is Beijing time. */
const BEIJING_MS = 8 * 3_600_000;

export class SeriesChart {
  private readonly chart: EChartsType;
  private readonly observer: ResizeObserver;
  private readonly tip: Tip;

  constructor(element: HTMLElement) {
    this.chart = init(element, undefined, { renderer: "canvas" });
    this.observer = new ResizeObserver(() => this.chart.resize());
    this.observer.observe(element);
    this.tip = new Tip(element);
    this.chart.on("hideTip", () => this.tip.hide());
    this.chart.getZr().on("globalout", () => this.tip.hide());
  }

  show(picture: CoursePicture): void {
    const px = (n: number) => Math.round(n * picture.scale);
    const font = { fontFamily: '"Onemap Sans", sans-serif', fontSize: px(11), color: INK.text };
    const { stateNames, foreseen } = picture;
    const drawn = picture.points
      .flatMap(([at, v]) => (v === null || at < picture.from ? [] : [v]))
      .concat(foreseen ? foreseenValues(foreseen) : []);
    const highest = drawn.reduce((most, v) => Math.max(most, v), -Infinity);
    // A limit far above everything measured would flatten the line; it is then named in the corner instead.
    const inView = picture.thresholds.filter(
      ({ value }) => !Number.isFinite(highest) || value <= highest * 3 || value <= 1,
    );
    const shown = drawn.concat(inView.map(({ value }) => value));
    const axis =
      stateNames.size > 0 ? { min: 0, max: Math.max(...stateNames.keys()), interval: 1 } : roundAxis(shown);
    this.chart.setOption(
      {
        animation: false,
        useUTC: true,
        aria: { enabled: true, label: { description: picture.aria } },
        textStyle: font,
        grid: { left: px(52), right: px(14), top: px(26), bottom: px(24) },
        tooltip: {
          trigger: "axis",
          // ECharts' own tip knows no font but the client's, and as HTML has inline styles: ours is shown in its place.
          renderMode: "richText",
          backgroundColor: "transparent",
          borderWidth: 0,
          padding: 0,
          axisPointer: { lineStyle: { color: INK.text, width: px(1) } },
          position: (point: [number, number]) => {
            this.tip.moveTo(point);
            return point;
          },
          formatter: (items: unknown) => {
            this.tip.say(tipLines(picture, items as Pointed[]));
            return "";
          },
        },
        xAxis: {
          type: "time",
          min: picture.from + BEIJING_MS,
          max: picture.to + BEIJING_MS,
          splitNumber: 5,
          axisLine: { lineStyle: { color: INK.axis } },
          axisTick: { lineStyle: { color: INK.axis } },
          axisLabel: {
            ...font,
            hideOverlap: true,
            formatter: (ms: number) => picture.minute(ms - BEIJING_MS),
          },
          splitLine: { show: false },
        },
        yAxis: {
          type: "value",
          ...axis,
          name: picture.unit,
          nameTextStyle: { ...font, align: "right" },
          nameGap: px(10),
          axisLabel: {
            ...font,
            formatter: (value: number) =>
              stateNames.get(value) ?? (stateNames.size > 0 ? "" : String(Number(value.toFixed(6)))),
          },
          splitLine: { lineStyle: { color: INK.grid } },
        },
        series: [
          ...(foreseen ? foreseenSeries(foreseen, px, font) : []),
          {
            id: "observed",
            name: foreseen?.words.observed,
            type: "line",
            data: picture.points.map(([t, v]) => [t + BEIJING_MS, v]),
            connectNulls: false,
            step: picture.stepped ? "end" : false,
            symbol: "circle",
            symbolSize: px(4),
            showSymbol: picture.points.length < 40,
            showAllSymbol: false,
            lineStyle: { color: INK.line, width: px(1.8) },
            itemStyle: { color: INK.line },
            areaStyle: picture.stepped ? undefined : { color: INK.line, opacity: 0.08, origin: "start" },
            markLine: {
              silent: true,
              symbol: "none",
              data: inView.map(({ value, text, isForeseen }) => ({
                yAxis: value,
                lineStyle: { color: INK.limit, type: "dashed", width: px(1.4) },
                label: {
                  ...font,
                  color: INK.limit,
                  formatter: text,
                  position: isForeseen ? "insideEndTop" : "insideStartTop",
                  // Legible over the line and the bands.
                  backgroundColor: INK.behind,
                  padding: [0, px(3)],
                },
              })),
            },
            markArea: {
              silent: true,
              data: picture.alarms.map(({ from, to, colour }) => [
                {
                  xAxis: Math.max(from, picture.from) + BEIJING_MS,
                  itemStyle: { color: colour, opacity: 0.16, borderColor: colour, borderWidth: px(1) },
                },
                { xAxis: Math.min(to, picture.to) + BEIJING_MS },
              ]),
            },
          },
        ],
      },
      { notMerge: true },
    );
  }

  end(): void {
    this.tip.hide();
    this.observer.disconnect();
    this.chart.dispose();
  }
}

type Pointed = { value: Point; seriesName: string; data: { note?: string } };

/** The time that is pointed at, and what each line has there. */
function tipLines(picture: CoursePicture, items: readonly Pointed[]): string[] {
  const [first] = items;
  if (!first) return [];
  const lines = items.map(({ value: [, value], seriesName, data }) => {
    const words = value === null ? "–" : `${picture.valueText(value)} ${picture.unit}`;
    const name = picture.foreseen ? `${seriesName} ` : "";
    return `${name}${words.trim()}${data.note ? ` (${data.note})` : ""}`;
  });
  return [picture.clock(first.value[0] - BEIJING_MS), ...lines];
}

/** What is pointed at in words, beside the pointer and inside the chart. */
class Tip {
  private readonly box = document.createElement("div");

  constructor(private readonly chart: HTMLElement) {
    this.box.className = "course-tip";
    this.box.hidden = true;
    this.box.setAttribute("aria-hidden", "true");
    chart.append(this.box);
  }

  say(lines: readonly string[]): void {
    this.box.textContent = lines.join("\n");
    this.box.hidden = lines.length === 0;
  }

  moveTo([x, y]: readonly [number, number]): void {
    const away = 12;
    const { clientWidth, clientHeight } = this.chart;
    const { offsetWidth, offsetHeight } = this.box;
    const left = x + away + offsetWidth > clientWidth ? x - away - offsetWidth : x + away;
    const top = y + away + offsetHeight > clientHeight ? y - away - offsetHeight : y + away;
    this.box.style.left = `${Math.max(0, left)}px`;
    this.box.style.top = `${Math.max(0, top)}px`;
  }

  hide(): void {
    this.box.hidden = true;
  }
}
