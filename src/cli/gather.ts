// SPDX-License-Identifier: MIT
/** What `ioreqd run` is to do, from the command line, config files, and what the launcher left in xenstore. */

import { availableParallelism } from "node:os";
import { IoreqdError, messageOf } from "../base/errors.js";
import { type DomId, domId } from "../base/ids.js";
import { DEFAULT_POLLING } from "../ioreq/polling.js";
import type { Config } from "../launch/config.js";
import { type DeviceSpec, parseDeviceSpec, resolveDevices } from "../launch/device-spec.js";
import { findGuest } from "../launch/guest.js";
import { hostBridges } from "../launch/host-bridges.js";
import { ServiceKeys } from "../launch/keys.js";
import { guestSettings, hostSettings, layered, noDevices, settingsOf } from "../launch/settings.js";
import { openStore } from "../launch/store.js";
import type { LogFormat, LogOptions } from "../observe/log.js";
import type { DeviceRequest } from "../pci/plan.js";
import type { AdapterName } from "../xen/ffi/index.js";
import type { BufioreqMode } from "../xen/host.js";
import type { XenStore } from "../xenstore/client.js";
import { DEFAULT_DEATHS } from "./blame.js";
import { DEFAULT_SAVED_DIR, readSaved } from "./saved-file.js";
import type { SessionOptions } from "./session.js";
import { DEFAULT_STATE_DIR } from "./state-dir.js";
import { DEFAULT_WATCHDOG_MS } from "./watchdog.js";

/** As commander gives them; what is undefined comes from config files, then from the defaults. */
export interface RunFlags {
  domid?: number;
  device: string[];
  config?: string;
  stateDir?: string;
  bufioreq?: BufioreqMode;
  pollWindow?: number;
  pollBudget?: number;
  watchdog?: number;
  quarantine?: number;
  ffi?: AdapterName;
  verbose: number;
  logFormat?: LogFormat;
  confine?: boolean;
  /** A snapshot: the guest comes from elsewhere. */
  restore?: string;
  /** Started by the process that serves now, to go on when that one says so. */
  successor?: boolean;
  /** `ioreqd dev`: devices change within the process. */
  swaps?: boolean;
}

export interface RunPlan {
  /** All but what xenstore knows. */
  readonly session: Omit<SessionOptions, "uuid">;
  readonly log: LogOptions;
  readonly ffi: AdapterName;
  /** Where the state of saved guests is kept. */
  readonly savedDir: string;
}

/** Nothing is created yet. Throws IoreqdError for whatever the operator got wrong, `devices` of what it gives for those. */
export async function gather(flags: RunFlags): Promise<RunPlan> {
  const isNamed = flags.config !== undefined || flags.device.length > 0 || flags.restore !== undefined;
  const file = flags.config === undefined ? { config: {}, devices: [] } : settingsOf(flags.config);
  const number = flags.domid ?? file.config.domid ?? domidOfEnvironment();
  if (number === undefined) {
    throw new IoreqdError("DOMID_MISSING", "no domain is named: give --domid N (xl list shows them)");
  }
  const domid = domId(number);
  const own: Configured = isNamed
    ? { ...file, requested: [], unconfigured: null, restore: null }
    : await configuredFor(domid);
  const config = layered(hostSettings(), own.config);
  const devices = (): DeviceRequest[] => {
    if (own.unconfigured !== null) throw own.unconfigured;
    return resolveDevices([
      ...own.devices,
      ...own.requested.map((text) => parseDeviceSpec(text, "-ioreqd")),
      ...flags.device.map((text) => parseDeviceSpec(text)),
    ]);
  };
  const restore = flags.restore ?? own.restore;
  const verbosity = flags.verbose > 0 ? flags.verbose : (config.log?.verbosity ?? 0);
  return {
    session: {
      domid,
      devices,
      hosts: hostBridges(config),
      ...(restore === null ? {} : { restore: readSaved(restore) }),
      bufioreq: flags.bufioreq ?? config.bufioreq ?? "atomic",
      polling: {
        window: flags.pollWindow ?? config.polling?.window ?? defaultWindow(),
        budget: flags.pollBudget ?? config.polling?.budget ?? DEFAULT_POLLING.budget,
      },
      stateDir: flags.stateDir ?? config.stateDir ?? DEFAULT_STATE_DIR,
      verbosity,
      watchdog: flags.watchdog ?? config.watchdog ?? DEFAULT_WATCHDOG_MS,
      quarantine: flags.quarantine ?? config.quarantine ?? DEFAULT_DEATHS,
    },
    log: { verbosity, format: flags.logFormat ?? config.log?.format ?? "auto" },
    ffi: flags.ffi ?? config.ffi ?? "koffi",
    savedDir: config.savedDir ?? DEFAULT_SAVED_DIR,
  };
}

interface Configured {
  readonly config: Config;
  readonly devices: DeviceSpec[];
  /** What the launcher asked for. */
  readonly requested: readonly string[];
  /** The snapshot that a guest which comes from elsewhere goes on with. */
  readonly restore: string | null;
  /** Nothing names a device: a mistake, unless a process before this one had some. */
  readonly unconfigured: IoreqdError | null;
}

/** For a process started by the domain's number alone, as systemd does. */
async function configuredFor(domid: DomId): Promise<Configured> {
  let store: XenStore | null;
  try {
    store = await openStore();
  } catch (error) {
    const { message } = noDevices(null);
    throw new IoreqdError(
      "NO_DEVICES",
      `${message}. What xenstore has for domain ${domid} is unknown: ${messageOf(error)}`,
    );
  }
  if (store === null) throw noDevices(null);
  try {
    const { name } = await findGuest(store, domid);
    const { devices: requested, restore } = await new ServiceKeys(store, domid).requested();
    const own = guestSettings(name);
    const unconfigured = requested.length + own.devices.length === 0 ? noDevices(name) : null;
    return { ...own, requested, restore, unconfigured };
  } finally {
    store.close();
  }
}

/** Polling takes a CPU while it lasts: with one CPU only, the guest would have to wait for us. */
function defaultWindow(): number {
  return availableParallelism() > 1 ? DEFAULT_POLLING.window : 0;
}

/** Is there a guest to serve that somebody named? */
export const namesDomain = ({ domid }: Pick<RunFlags, "domid">): boolean =>
  (domid ?? domidOfEnvironment()) !== undefined;

function domidOfEnvironment(): number | undefined {
  const text = process.env["IOREQD_DOMID"];
  return text === undefined || text === "" ? undefined : Number(text);
}
