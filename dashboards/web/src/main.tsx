// Where the screen starts.
import { render } from "preact";
import { App } from "./app";
import { enter } from "./state/session";
import { startScale, wall } from "./state/view";
import "./style/tokens.css";
import "./style/base.css";
import "./style/layout.css";
import "./style/panels.css";
import "./style/forecasts.css";
import "./style/drawer.css";
import "./style/alarms.css";
import "./style/duty.css";
import "./style/map.css";

if (wall) document.documentElement.classList.add("wall");
const root = document.getElementById("app");
if (!root) throw new Error("the page has no place for the screen");
startScale();
void enter();
render(<App />, root);
