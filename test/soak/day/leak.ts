// SPDX-License-Identifier: MIT
/** leak: a device that keeps something more every few seconds of its time. What looks for growth has to find it. */

import { openSync } from "node:fs";
import { definePciDevice } from "../../../src/pci/define.js";

const EVERY_MS = 5000;
const NUMBERS = 512;

export default definePciDevice({
  name: "leak",
  summary: "keeps memory or descriptors: the witness for what looks for growth",
  ident: { vendor: 0x1234, device: 0xb0f2, classCode: 0x00ff00 },
  timers: ["more"],
  options: { of: { kind: "string", default: "heap", doc: "heap, buffers or descriptors" } },
  attach({ timers, options }) {
    const kept: unknown[] = [];
    timers.more.onExpire(() => {
      const of = options["of"];
      if (of === "heap") kept.push(Array.from({ length: NUMBERS }, (_, n) => ({ n })));
      else if (of === "buffers") kept.push(new ArrayBuffer(NUMBERS * 8));
      else kept.push(openSync("/dev/null", "r"));
      timers.more.start(EVERY_MS);
    });
    timers.more.start(EVERY_MS);
  },
});
