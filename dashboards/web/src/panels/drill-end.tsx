// Ending a drill before its time, or calling off one that has not begun: asked for twice, with what follows from it.
import { useEffect, useRef, useState } from "preact/hooks";
import { api } from "../api/client";
import type { Drill } from "../api/types";
import { langOf, t } from "../i18n";
import { whole } from "../i18n/format";
import { shiftText } from "../state/duty";
import { type Failure, failureOf } from "../state/failure";
import { Trouble } from "./trouble";

export function EndDrill({ drill, done }: { drill: Drill; done: () => void }) {
  const dialog = useRef<HTMLDialogElement>(null);
  const [failure, setFailure] = useState<Failure | null>(null);
  const [busy, setBusy] = useState(false);
  useEffect(() => {
    dialog.current?.showModal();
  }, []);
  const isOn = drill.state === "on";
  const send = async (event: Event) => {
    event.preventDefault();
    setBusy(true);
    setFailure(null);
    try {
      await api.endDrill(drill.id);
      done();
    } catch (error) {
      setFailure(failureOf(error));
      setBusy(false);
    }
  };
  const title = t(isOn ? "drills.end" : "drills.call_off");
  return (
    <dialog
      ref={dialog}
      class="dialog"
      aria-labelledby="drill-end-title"
      data-testid="drill-end-dialog"
      onClose={() => done()}
    >
      <form onSubmit={send} noValidate>
        <h2 id="drill-end-title">{title}</h2>
        <div class="dialog-about">
          <b lang={langOf(drill.name)}>{drill.name}</b>
          <span>{shiftText({ from: drill.from, to: drill.to, name: null })}</span>
          <p>{t(isOn ? "drills.end_hint" : "drills.call_off_hint")}</p>
          {drill.open > 0 ? <p class="drill-open">{t("drills.end_open", { n: whole(drill.open) })}</p> : null}
        </div>
        {failure ? <Trouble failure={failure} test="drill-end-trouble" /> : null}
        <div class="dialog-acts">
          <button type="button" class="quiet" onClick={() => done()}>
            {t("drills.keep")}
          </button>
          <button type="submit" class="primary" disabled={busy} data-testid="drill-end-submit">
            {title}
          </button>
        </div>
      </form>
    </dialog>
  );
}
