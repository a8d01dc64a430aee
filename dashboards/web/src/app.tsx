// The screen: door, banner, strip, map with its panels.
import { useEffect } from "preact/hooks";
import { lang, t } from "./i18n";
import { ActDialog } from "./panels/act-dialog";
import { Alarms } from "./panels/alarms";
import { Banner, isLost } from "./panels/banner";
import { DeskPage } from "./panels/desk";
import { DeviceDrawer } from "./panels/device-drawer";
import { Doorway, Login } from "./panels/login";
import { MapView } from "./panels/map-view";
import { Overview } from "./panels/overview";
import { Quarantine } from "./panels/quarantine";
import { Setup } from "./panels/setup";
import { Ticker } from "./panels/ticker";
import { TopStrip } from "./panels/top-strip";
import { WhoButton, WhoDialog } from "./panels/who";
import { follow } from "./state/city";
import { desksOf } from "./state/desk";
import { access, logOut, may, sessionEnded } from "./state/session";
import { closeAll, wall } from "./state/view";

export function App() {
  const state = access.value;
  useEffect(() => {
    document.documentElement.lang = lang.value === "zh" ? "zh-CN" : "en";
    document.title = t("app.title");
  }, [lang.value]);
  useEffect(() => {
    if (state.state !== "in") closeAll();
  }, [state.state]);
  if (state.state === "checking") return <main class="waiting" aria-busy="true" />;
  if (state.state === "setup") return <Setup linkKey={state.key} />;
  if (state.state === "out") return <Login why={state.why} sso={state.sso} />;
  return (
    <>
      <Page />
      {wall ? null : <WhoDialog />}
    </>
  );
}

/** What a role has to do here. */
function Page() {
  if (may("view")) return <Screen />;
  return desksOf(may).length > 0 ? <DeskPage alone /> : <NothingHere />;
}

/** A role that has no page of its own yet, where rights are given anew. */
function NothingHere() {
  return (
    <Doorway
      onSubmit={(event) => {
        event.preventDefault();
        void logOut();
      }}
    >
      <p class="hint">{t("app.nothing_here")}</p>
      <WhoButton />
      <button type="submit" class="primary">
        {t("strip.log_out")}
      </button>
    </Doorway>
  );
}

function Screen() {
  useEffect(() => follow(() => void sessionEnded()), []);
  return (
    <div class={`screen${isLost() ? " is-lost" : ""}${wall ? " is-wall" : ""}`} data-testid="screen">
      <a class="skip" href="#alarms">
        {t("app.skip")}
      </a>
      <TopStrip />
      <div class="banner-slot">
        <Banner />
      </div>
      <Overview />
      <main class="middle">
        <MapView />
        <DeviceDrawer />
        <Quarantine />
      </main>
      <Ticker />
      <Alarms />
      <ActDialog />
      {wall ? null : <DeskPage alone={false} />}
    </div>
  );
}
