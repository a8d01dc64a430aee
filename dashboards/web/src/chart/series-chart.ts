// The course of one series on a canvas. Gaps stay gaps, limits and alarms are marked. Loaded when first needed.
import { LineChart } from "echarts/charts";
import {
  AriaComponent,
  GridComponent,
  MarkAreaComponent,
  MarkLineComponent,
  TooltipComponent,
} from "echarts/components";
import { type EChartsType, init, use } from "echarts/core";
import { CanvasRenderer } from "echarts/renderers";
import { roundAxis } from "./course";

use([
  LineChart,
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
  unit: string;
  decimals: number;
  /** A state code holds until the next one: drawn as steps. */
  stepped: boolean;
  thresholds: { value: number; text: string }[];
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
  tip: "#0b1422",
};
/** ECharts writes its axis in UTC when told to; shifted by eight hours that is Beijing time. */
const BEIJING_MS = 8 * 3_600_000;

export class SeriesChart {
  private readonly chart: EChartsType;
  private readonly observer: ResizeObserver;

  constructor(element: HTMLElement) {
    this.chart = init(element, undefined, { renderer: "canvas" });
    this.observer = new ResizeObserver(() => this.chart.resize());
    this.observer.observe(element);
  }

  show(picture: CoursePicture): void {
    const px = (n: number) => Math.round(n * picture.scale);
    const font = { fontFamily: '"Onemap Sans", sans-serif', fontSize: px(11), color: INK.text };
    const { stateNames } = picture;
    const highest = picture.points.reduce((most, [, v]) => (v !== null && v > most ? v : most), -Infinity);
    // A limit far above everything measured would flatten the line; it is then named in the corner instead.
    const inView = picture.thresholds.filter(
      ({ value }) => !Number.isFinite(highest) || value <= highest * 3 || value <= 1,
    );
    const shown = picture.points
      .flatMap(([, v]) => (v === null ? [] : [v]))
      .concat(inView.map(({ value }) => value));
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
          renderMode: "richText",
          confine: true,
          backgroundColor: INK.tip,
          borderColor: INK.axis,
          textStyle: { ...font, color: "#eaf2fb", fontSize: px(12) },
          axisPointer: { lineStyle: { color: INK.text, width: px(1) } },
          formatter: (items: unknown) => {
            const [item] = items as { value: Point }[];
            if (!item) return "";
            const [at, value] = item.value;
            const words = value === null ? "–" : `${picture.valueText(value)} ${picture.unit}`;
            return `${picture.clock(at - BEIJING_MS)}\n${words.trim()}`;
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
          {
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
              data: inView.map(({ value, text }) => ({
                yAxis: value,
                lineStyle: { color: INK.limit, type: "dashed", width: px(1.4) },
                label: { ...font, color: INK.limit, formatter: text, position: "insideStartTop" },
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
    this.observer.disconnect();
    this.chart.dispose();
  }
}
