// SPDX-License-Identifier: MIT
/** `ioreqd run`: serve one guest until told to end, or until the guest is gone. */

import { availableParallelism } from "node:os";
import { IoreqdError, messageOf } from "../base/errors.js";
import { domId } from "../base/ids.js";
import { DEFAULT_POLLING } from "../ioreq/polling.js";
import { type LogFormat, openLog } from "../observe/log.js";
import { type AdapterName, openAdapter } from "../xen/ffi/index.js";
import type { BufioreqMode } from "../xen/host.js";
import { NativeXen } from "../xen/native.js";
import type { Config } from "./config.js";
import { type DeviceSpec, parseDeviceSpec, resolveDevices } from "./device-spec.js";
import { functionSummary, Session } from "./session.js";

/** As commander gives them; what is undefined comes from the config file, then from the defaults. */
export interface RunFlags {
  domid?: number;
  device: string[];
  config?: string;
  stateDir?: string;
  bufioreq?: BufioreqMode;
  pollWindow?: number;
  pollBudget?: number;
  ffi?: AdapterName;
  verbose: number;
  logFormat?: LogFormat;
}

export const DEFAULT_STATE_DIR = "/run/ioreqd";

/** Serve. Resolves with the exit code: 0 after SIGTERM or SIGINT or the guest's end. Throws IoreqdError. */
export async function run(flags: RunFlags): Promise<number> {
  const { config, devices: configured } = await configOf(flags.config);
  const verbosity = flags.verbose > 0 ? flags.verbose : (config.log?.verbosity ?? 0);
  const log = openLog({ verbosity, format: flags.logFormat ?? config.log?.format ?? "auto" });
  const domid = flags.domid ?? config.domid ?? domidOfEnvironment();
  if (domid === undefined)
    throw new IoreqdError("DOMID_MISSING", "no domain is named: give --domid N (xl list shows them)", {});
  const specs = [...configured, ...flags.device.map(parseDeviceSpec)];
  if (specs.length === 0)
    throw new IoreqdError(
      "NO_DEVICES",
      "no device is named: give --device NAME[,key=value…] (ioreqd devices lists them)",
      {},
    );
  const devices = resolveDevices(specs);

  const ffi = openAdapter(flags.ffi ?? config.ffi ?? "koffi");
  const xen = new NativeXen(ffi);
  const ended = new AbortController();
  const signals: NodeJS.Signals[] = ["SIGTERM", "SIGINT", "SIGHUP"];
  const onSignal = (signal: NodeJS.Signals): void => ended.abort(signal);
  for (const signal of signals) process.on(signal, onSignal);
  try {
    const session = new Session(
      {
        domid: domId(domid),
        devices,
        bufioreq: flags.bufioreq ?? config.bufioreq ?? "atomic",
        polling: {
          window: flags.pollWindow ?? config.polling?.window ?? defaultWindow(),
          budget: flags.pollBudget ?? config.polling?.budget ?? DEFAULT_POLLING.budget,
        },
        stateDir: flags.stateDir ?? config.stateDir ?? DEFAULT_STATE_DIR,
        verbosity,
      },
      xen,
      ffi,
      log,
      (error) => ended.abort(messageOf(error)),
    );
    try {
      log.info(
        {
          domid,
          server: session.server.id,
          vcpus: session.server.vcpus,
          functions: session.tree.functions.map(functionSummary),
          ms: Math.round(performance.now()),
        },
        "ready",
      );
      await aborted(ended.signal);
      log.info({ reason: String(ended.signal.reason) }, "stopping");
    } finally {
      session.stop();
      log.info({ ...session.server.counters.toJSON(), unclaimed: session.tree.unclaimed }, "stopped");
    }
    return 0;
  } finally {
    for (const signal of signals) process.off(signal, onSignal);
    xen.close();
  }
}

/** The schema library takes longer to load than all the rest together: only where there is a file to check. */
async function configOf(path: string | undefined): Promise<{ config: Config; devices: DeviceSpec[] }> {
  if (path === undefined) return { config: {}, devices: [] };
  const { configDevices, readConfig } = await import("./config.js");
  const config = readConfig(path);
  return { config, devices: configDevices(path, config) };
}

/** Polling takes a CPU while it lasts: with one CPU only, the guest would have to wait for us. */
function defaultWindow(): number {
  return availableParallelism() > 1 ? DEFAULT_POLLING.window : 0;
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener("abort", () => resolve(), { once: true });
  });
}

function domidOfEnvironment(): number | undefined {
  const text = process.env["IOREQD_DOMID"];
  return text === undefined || text === "" ? undefined : Number(text);
}
