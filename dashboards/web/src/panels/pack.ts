// The pack of what an alarm rests on: made by the server while one waits, then a file of the browser's downloads.
import { useState } from "preact/hooks";
import { api } from "../api/client";
import { type Failure, failureOf } from "../state/failure";

/** Each pack that is taken is an act in the audit. */
export function usePack() {
  const [making, setMaking] = useState(false);
  const [failure, setFailure] = useState<Failure | null>(null);
  const take = async (alert: string) => {
    if (making) return;
    setMaking(true);
    setFailure(null);
    try {
      saveAs(`evidence-${alert}.tar`, await api.evidence(alert));
    } catch (error) {
      setFailure(failureOf(error));
    }
    setMaking(false);
  };
  return { making, failure, take };
}

/** The browser reads the file after the click has returned, so its address is kept a while. */
const KEPT_MS = 60_000;

function saveAs(name: string, file: Blob): void {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(file);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), KEPT_MS);
}
