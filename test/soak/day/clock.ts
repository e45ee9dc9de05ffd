// SPDX-License-Identifier: MIT
/**
 * Loaded into a device model before its own code (`node --require`): its devices live by a clock that runs faster, and SIGUSR2
 * has it collect its garbage and write down what memory it has. The program itself knows nothing of this.
 *
 * Faster are the timers of devices, the log's times, and the interval at which guest events are printed. What waits for
 * other processes, which are no faster, keeps its time.
 */

import { renameSync, writeFileSync } from "node:fs";
import { getHeapSpaceStatistics, setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import * as guestEvents from "../../../src/observe/guest-events.js";
import type { Logger } from "../../../src/observe/log.js";
import type { MemorySample } from "./figures.js";

/** Of the environment: how much faster, since when (ns of CLOCK_MONOTONIC), and where samples go. */
const { IOREQD_CLOCK = "1", IOREQD_CLOCK_SINCE = "0", IOREQD_SAMPLE = "" } = process.env;
const faster = Number(IOREQD_CLOCK);
const since = BigInt(IOREQD_CLOCK_SINCE);

const realNow = process.hrtime.bigint.bind(process.hrtime);
// The same in every process, for deadlines outlive them.
process.hrtime.bigint = () => since + (realNow() - since) * BigInt(faster);

const realDate = Date.now;
const began = realDate();
Date.now = () => began + (realDate() - began) * faster;

const { setTimeout: realTimeout } = globalThis;
const isOfDevice = (): boolean => new Error().stack?.split("\n")[3]?.includes("/pci/timers.js") === true;
globalThis.setTimeout = Object.assign(
  (act: () => void, ms?: number, ...rest: []): NodeJS.Timeout =>
    realTimeout(act, isOfDevice() ? (ms ?? 0) / faster : ms, ...rest),
  realTimeout,
) as typeof setTimeout;

const { GuestEvents } = guestEvents;
Object.assign(guestEvents, {
  GuestEvents: class extends GuestEvents {
    constructor(log: Logger) {
      super(log, () => performance.now() * faster);
    }
  },
});

setFlagsFromString("--expose-gc");
const collect = runInNewContext("gc") as () => void;
process.on("SIGUSR2", () => {
  collect();
  const path = `${IOREQD_SAMPLE}.${process.pid}`;
  const young = getHeapSpaceStatistics().find(({ space_name }) => space_name === "new_space");
  const youngBytes = young?.space_size ?? 0;
  writeFileSync(`${path}.new`, JSON.stringify({ ...process.memoryUsage(), youngBytes } satisfies MemorySample));
  renameSync(`${path}.new`, path);
});
