// The screen: door, banner, strip, map with its panels.
import { useEffect } from "preact/hooks";
import { lang, t } from "./i18n";
import { ActDialog } from "./panels/act-dialog";
import { Alarms } from "./panels/alarms";
import { Banner, isLost } from "./panels/banner";
import { DeviceDrawer } from "./panels/device-drawer";
import { Login } from "./panels/login";
import { MapView } from "./panels/map-view";
import { Overview } from "./panels/overview";
import { Quarantine } from "./panels/quarantine";
import { Ticker } from "./panels/ticker";
import { TopStrip } from "./panels/top-strip";
import { follow } from "./state/city";
import { access, sessionEnded } from "./state/session";
import { wall } from "./state/view";

export function App() {
  const state = access.value;
  useEffect(() => {
    document.documentElement.lang = lang.value === "zh" ? "zh-CN" : "en";
    document.title = t("app.title");
  }, [lang.value]);
  if (state.state === "checking") return <main class="waiting" aria-busy="true" />;
  if (state.state === "out") return <Login why={state.why} />;
  return <Screen />;
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
    </div>
  );
}
