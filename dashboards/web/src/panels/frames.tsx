// The newest frames of a field station, field by field; nothing for devices that send none.
import { useEffect, useState } from "preact/hooks";
import { askEvery } from "../api/again";
import { api } from "../api/client";
import type { StationFrame } from "../api/types";
import { t } from "../i18n";
import { stamp, whole } from "../i18n/format";
import { renewals } from "../state/session";
import { now } from "../state/view";
import { Spelt } from "./quarantine";

const EVERY_MS = 10_000;
const SHOWN_CHARS = 400;

export function Frames({ device }: { device: string }) {
  const [frames, setFrames] = useState<StationFrame[]>([]);
  useEffect(
    () =>
      // The last answer stays while the server is away; the banner tells of contact.
      askEvery(
        EVERY_MS,
        () => api.frames(device),
        (found) => setFrames(found.items),
      ),
    [device, renewals.value],
  );
  if (frames.length === 0) return null;
  return (
    <section class="frames" data-testid="frames">
      <h3>{t("device.frames")}</h3>
      <ul>
        {frames.map((frame) => {
          const bytes = frame.payload ?? frame.payload_hex;
          return (
            <li key={frame.position} class="refused-item">
              <header>
                <b>{frame.source}</b>
                <time>{stamp(Date.parse(frame.at), now.value)}</time>
              </header>
              <figure>
                <figcaption>
                  {t(frame.payload === null ? "quarantine.as_hex" : "quarantine.as_text")} ·{" "}
                  {t("quarantine.bytes", { n: whole(frame.size) })} · {frame.peer}
                </figcaption>
                <pre>{bytes.length > SHOWN_CHARS ? `${bytes.slice(0, SHOWN_CHARS)}…` : bytes}</pre>
              </figure>
              {(frame.frames ?? []).map((line) => (
                <Spelt key={line.at} line={line} />
              ))}
            </li>
          );
        })}
      </ul>
    </section>
  );
}
