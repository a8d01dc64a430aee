// Symbols drawn at start: no sprite is fetched. Each state has its own shape, so that it reads without colour.
import type { Map as MapLibre } from "maplibre-gl";
import { glyphImages } from "./glyphs";
import { NIGHT, STATE } from "./palette";

/** Drawn at this many pixels for each CSS pixel, enough for a wall at twice the design size. */
const RATIO = 4;

function draw(size: number, paint: (context: CanvasRenderingContext2D) => void): ImageData {
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = size * RATIO;
  const context = canvas.getContext("2d");
  if (!context) throw new Error("the browser gives no 2-D canvas");
  context.scale(RATIO, RATIO);
  context.lineJoin = "round";
  context.lineCap = "round";
  paint(context);
  return context.getImageData(0, 0, canvas.width, canvas.height);
}

/** Triangle with a ring around it: abnormal. 32 x 32. */
function abnormal(c: CanvasRenderingContext2D): void {
  c.strokeStyle = STATE.abnormal;
  c.fillStyle = "rgba(255, 77, 94, 0.20)";
  c.lineWidth = 1.8;
  c.beginPath();
  c.arc(16, 16, 14, 0, 2 * Math.PI);
  c.fill();
  c.stroke();
  c.fillStyle = STATE.abnormal;
  c.strokeStyle = NIGHT.halo;
  c.lineWidth = 1.2;
  c.beginPath();
  c.moveTo(16, 5.4);
  c.lineTo(25.6, 22);
  c.lineTo(6.4, 22);
  c.closePath();
  c.fill();
  c.stroke();
  c.fillStyle = NIGHT.halo;
  c.fillRect(14.8, 10.6, 2.4, 6);
  c.fillRect(14.8, 18, 2.4, 2.3);
}

/** Hollow square with a question mark: unknown. 24 x 24. */
function unknown(c: CanvasRenderingContext2D): void {
  c.fillStyle = "rgba(8, 16, 28, 0.85)";
  c.strokeStyle = STATE.unknown;
  c.lineWidth = 2;
  c.beginPath();
  c.roundRect(3, 3, 18, 18, 2);
  c.fill();
  c.stroke();
  c.lineWidth = 2;
  c.beginPath();
  c.arc(12, 9.6, 2.9, Math.PI, 0.42 * Math.PI);
  c.lineTo(12, 14);
  c.stroke();
  c.fillStyle = STATE.unknown;
  c.beginPath();
  c.arc(12, 17.2, 1.25, 0, 2 * Math.PI);
  c.fill();
}

/** Slanted bars over the symbol below: stale. 24 x 24. */
function stale(c: CanvasRenderingContext2D): void {
  c.beginPath();
  c.arc(12, 12, 10.4, 0, 2 * Math.PI);
  c.save();
  c.clip();
  c.strokeStyle = NIGHT.halo;
  c.lineWidth = 2.6;
  for (let x = -24; x <= 24; x += 5.6) {
    c.beginPath();
    c.moveTo(x, 24);
    c.lineTo(x + 24, 0);
    c.stroke();
  }
  c.restore();
  c.strokeStyle = STATE.stale;
  c.lineWidth = 1.6;
  c.setLineDash([3, 2.6]);
  c.stroke();
}

function glyph(path: string): (c: CanvasRenderingContext2D) => void {
  return (c) => {
    c.strokeStyle = "#04140f";
    c.lineWidth = 2;
    c.stroke(new Path2D(path));
  };
}

/** Gives the map its symbols. */
export function addImages(map: MapLibre): void {
  const add = (name: string, size: number, paint: (c: CanvasRenderingContext2D) => void) =>
    map.addImage(name, draw(size, paint), { pixelRatio: RATIO });
  add("abnormal", 32, abnormal);
  add("unknown", 24, unknown);
  add("stale", 24, stale);
  for (const [name, path] of glyphImages()) add(name, 24, glyph(path));
}
