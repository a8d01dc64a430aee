// The line drawings of device kinds, 24 x 24, for the map (canvas) and the panels (SVG) alike.

const OTHER =
  "M12 10.2a1.8 1.8 0 1 0 0 3.6 1.8 1.8 0 0 0 0-3.6zM7.5 7.5a6.4 6.4 0 0 0 0 9M16.5 7.5a6.4 6.4 0 0 1 0 9M4.6 4.6a10.5 10.5 0 0 0 0 14.8M19.4 4.6a10.5 10.5 0 0 1 0 14.8";

const GLYPHS: Record<string, string> = {
  air_station:
    "M3 8.5h10.5a2.8 2.8 0 1 0-2.7-3.6M3 13h15.2a2.9 2.9 0 1 1-2.8 3.8M3 17.5h7.2a2 2 0 1 1-1.9 2.6",
  noise_meter: "M4 9.8v4.4h3.6l4.9 4V5.8l-4.9 4zM15.6 9a4.2 4.2 0 0 1 0 6M18.2 6.2a8.2 8.2 0 0 1 0 11.6",
  river_gauge:
    "M3 16.2c1.5-1.5 3-1.5 4.5 0s3 1.5 4.5 0 3-1.5 4.5 0 3 1.5 4.5 0M3 20.4c1.5-1.5 3-1.5 4.5 0s3 1.5 4.5 0 3-1.5 4.5 0 3 1.5 4.5 0M10 12V3M10 4.2h4.4M10 8h4.4",
  rain_gauge:
    "M12 3c3.4 4.4 5.8 7.2 5.8 10.6a5.8 5.8 0 0 1-11.6 0C6.2 10.2 8.6 7.4 12 3zM9.2 14.2a2.9 2.9 0 0 0 2.4 2.6",
  manhole: "M12 3.6a8.4 8.4 0 1 0 0 16.8 8.4 8.4 0 0 0 0-16.8zM7.6 9.2h8.8M6.6 12h10.8M7.6 14.8h8.8",
  smoke_detector:
    "M12.4 3c.6 4.2 5.2 5.4 5.2 10.6a5.6 5.6 0 0 1-11.2 0c0-2.2 1-3.6 2.2-4.8.2 1.8.8 2.8 1.8 3.2 1.2-2.6.6-5.6 2-9z",
  soil_station:
    "M12 21v-9.6M12 12.4c0-4.2-2.8-6.8-7.6-6.8 0 4.4 2.8 6.8 7.6 6.8zM12 15.6c0-3.4 2.6-5.8 7.4-5.8 0 3.8-2.8 5.8-7.4 5.8zM6 21h12",
  modbus_meter: "M13.4 2.8L5.2 13.6h5.6l-1 7.6 8.4-11h-5.8z",
  water_quality_station: "M9 3h6M10 3v6.2L5.2 18a2 2 0 0 0 1.8 3h10a2 2 0 0 0 1.8-3L14 9.2V3M7.6 15h8.8",
  water_truck:
    "M2.5 7h11v8.5h-11zM13.5 10h4l3.5 3v2.5h-7.5zM6.5 15.5a2 2 0 1 0 .01 0zM17 15.5a2 2 0 1 0 .01 0zM5 10.5h6",
  hazmat_truck:
    "M2.5 7h11v8.5h-11zM13.5 10h4l3.5 3v2.5h-7.5zM6.5 15.5a2 2 0 1 0 .01 0zM17 15.5a2 2 0 1 0 .01 0zM8 8.6l2.2 4.4H5.8z",
  gateway:
    "M4 14h16v6H4zM7.4 17h.01M11 17h6M12 14V9M8.6 6.4a4.8 4.8 0 0 1 6.8 0M6.2 3.8a8.2 8.2 0 0 1 11.6 0",
};

/** The drawing of a kind; a general sensor for kinds that have none. */
export const glyphOf = (kind: string) => GLYPHS[kind] ?? OTHER;

/** The name of the map image for a kind. */
export const imageOf = (kind: string) => (kind in GLYPHS ? `kind-${kind}` : "kind-other");

/** Every map image name with its drawing. */
export const glyphImages = (): [string, string][] => [
  ...Object.entries(GLYPHS).map(([kind, path]): [string, string] => [`kind-${kind}`, path]),
  ["kind-other", OTHER],
];
