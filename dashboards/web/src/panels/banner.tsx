// The red banner: contact is lost, since when the picture stands still, and that it is not the present.
import { t } from "../i18n";
import { clock } from "../i18n/format";
import { contact, lastEventAt, loaded, snapshotError } from "../state/city";
import { failureWords } from "./trouble";

/** Whether the banner shows; the rest of the screen dims with it. */
export const isLost = () => contact.value === "lost";

export function Banner() {
  if (isLost()) {
    const at = lastEventAt.value;
    return (
      <div class="banner banner-lost" role="alert" data-testid="stale-banner">
        <svg class="icon" viewBox="0 0 24 24" aria-hidden="true" focusable="false">
          <path d="M12 3.5l9.5 16.5h-19zM12 9.5v5M12 17.2v.1" />
        </svg>
        <b>{at === null ? t("link.banner_never") : t("link.banner", { time: clock(at) })}</b>
        <span>{t("link.banner_hint")}</span>
      </div>
    );
  }
  if (snapshotError.value !== null)
    return (
      <div
        class="banner banner-lost"
        role="alert"
        title={snapshotError.value.detail}
        data-testid="snapshot-banner"
      >
        <b>{t("link.snapshot_failed", { why: failureWords(snapshotError.value) })}</b>
      </div>
    );
  if (!loaded.value)
    return (
      <div class="banner banner-quiet" role="status">
        {t("link.loading")}
      </div>
    );
  return null;
}
