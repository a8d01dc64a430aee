// The colours of the night map and of states, the same ones as in style/tokens.css.
import type { Severity } from "../api/types";

export const STATE = { normal: "#35c4a2", abnormal: "#ff4d5e", unknown: "#c4a8ff", stale: "#e0c98a" };

export const SEVERITY: Record<Severity, string> = {
  critical: "#ff4d5e",
  major: "#ff9340",
  minor: "#f2cf3a",
  notice: "#58a6ff",
};

export const NIGHT = {
  ground: "#0a1220",
  outside: "#080e19",
  districts: ["#101e31", "#0e1b2c", "#122237"],
  cityLine: "#3f86c4",
  cityGlow: "#2a6db0",
  districtLine: "#37567a",
  streetLine: "#22364e",
  marked: "#7fd0ff",
  fence: "#d58cff",
  water: "#1d6fa8",
  waterMinor: "#19547f",
  waterText: "#6fb4e4",
  motorway: "#4b5a72",
  trunk: "#3f4d64",
  primary: "#344257",
  minorRoad: "#293649",
  roadText: "#8b9bb2",
  placeText: "#b4c3d6",
  districtText: "#8fb2d6",
  stateless: "#7d8ba0",
  halo: "#08101c",
  text: "#eaf2fb",
};
