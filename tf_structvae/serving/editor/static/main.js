/** Starts the page. */

import { information, onReachable } from "./api.js";
import { EditPanel } from "./edit.js";
import { describe } from "./about.js";
import { ClassChooser } from "./classes.js";
import { firstDocument } from "./first.js";
import { LookPanel } from "./look.js";
import { Path } from "./path.js";
import { Samples } from "./samples.js";
import { Session } from "./session.js";
import { SourcePanel } from "./source.js";
import { Square } from "./square.js";
import { Stage } from "./stage.js";
import { SteerPanel } from "./steer.js";
import { Studio } from "./studio.js";
import { attempt, dismiss, dismissErrors, GONE, notify, tabs, theme } from "./ui.js";
import { Upload } from "./upload.js";

const RETRY_MS = 3000;
let started = false;

async function start() {
  const info = await information();
  describe(info);
  const studio = new Studio(info);
  const first = () => firstDocument(studio);
  const stage = new Stage(studio);
  const look = new LookPanel(studio);
  new EditPanel(studio, stage, look);
  new SourcePanel(studio);
  new ClassChooser(studio);
  new Upload(studio);
  const panels = {
    edit: [new Samples(studio)],
    steer: [new SteerPanel(studio)],
    blend: [new Square(studio), new Path(studio)],
    look: [look],
  };
  tabs((shown) => {
    for (const [name, parts] of Object.entries(panels)) {
      for (const part of parts) part.show(name === shown);
    }
  });
  studio.addEventListener("document", () => studio.live || dismissErrors());
  const session = new Session(studio, first);
  document.documentElement.studio = studio; // for tests and the curious
  if (await session.restoreKept()) {
    if (studio.history.states.length > 1) notify("This is your picture of last time.");
  } else await studio.open([await first()], 0);
  started = true;
}

/** Asks until the server is back, and says so. */
function waitForServer() {
  let timer = null;
  onReachable((reachable) => {
    clearInterval(timer);
    if (reachable && !started) {
      location.reload();
    } else if (reachable) {
      dismiss(GONE);
      notify("The server answers again.");
    } else {
      timer = setInterval(() => information().catch(() => {}), RETRY_MS);
    }
  });
}

theme();
waitForServer();
attempt(start).then(() => {
  document.documentElement.dataset.ready = "true";
});
