// SPDX-License-Identifier: MIT
/** Start a process that serves a guest, in the background, and wait until it does. */

import { spawn } from "node:child_process";
import { closeSync, existsSync, mkdirSync, openSync } from "node:fs";
import { join } from "node:path";
import { IoreqdError } from "../base/errors.js";
import { PACKAGE_ROOT } from "../base/place.js";
import type { XenStore } from "../xenstore/client.js";
import type { Guest } from "./guest.js";
import { ServiceKeys } from "./keys.js";

export interface ServiceOptions {
  /** Devices beside those of the guest's own file, as --device takes them. */
  readonly devices: readonly string[];
  /** The file with what they know, where the guest comes from elsewhere. */
  readonly restore: string | null;
  /** `auto`: systemd where it runs and has our unit, else none. */
  readonly supervisor: "auto" | "systemd" | "none";
  /** Where the log goes when no supervisor takes it. */
  readonly logDir: string;
  /** How long until it must be ready, in ms. libxl gives a device model 60 s. */
  readonly timeoutMs: number;
}

export const DEFAULT_LOG_DIR = "/var/log/xen";
export const START_TIMEOUT_MS = 45_000;
/** How much later than the process itself the launcher gives up, so that the process can say why. */
const GRACE_MS = 5_000;

export const unitOf = (domid: number): string => `ioreqd@${domid}.service`;

/**
 * Resolves when the guest is served, with the words that say by what.
 * Throws DOMAIN_SERVED, SERVICE_FAILED and SERVICE_TIMEOUT, with everything undone.
 */
export async function startService(store: XenStore, guest: Guest, options: ServiceOptions): Promise<string> {
  const keys = new ServiceKeys(store, guest.domid);
  const { state, pid } = await keys.status();
  if (state === "running" && pid !== null && existsSync(`/proc/${pid}`)) {
    throw new IoreqdError("DOMAIN_SERVED", `domain ${guest.domid} is served by process ${pid} already; end it first`, {
      domid: guest.domid,
      pid,
    });
  }
  const bySystemd = options.supervisor === "systemd" || (options.supervisor === "auto" && (await systemdHasUnit()));
  await keys.request(options.devices, options.restore);
  try {
    const by = bySystemd ? await startUnit(keys, guest) : await startDirectly(keys, guest, options);
    if (options.restore !== null) await keys.restored();
    return by;
  } catch (error) {
    await keys.removeAll();
    throw error;
  }
}

async function systemdHasUnit(): Promise<boolean> {
  if (!existsSync("/run/systemd/system")) return false;
  const { status } = await command("systemctl", ["cat", "ioreqd@.service"]);
  return status === 0;
}

/** The unit has Type=notify, so this returns when it is ready, or not. */
async function startUnit(keys: ServiceKeys, guest: Guest): Promise<string> {
  const unit = unitOf(guest.domid);
  const { status, stderr } = await command("systemctl", ["start", unit]);
  if (status === 0) return unit;
  const { error } = await keys.status();
  await command("systemctl", ["stop", unit]); // it may be about to be started again
  await command("systemctl", ["reset-failed", unit]);
  throw failed(guest, error ?? stderr.trim(), `journalctl -u ${unit} has its log`);
}

async function startDirectly(keys: ServiceKeys, guest: Guest, options: ServiceOptions): Promise<string> {
  const logFile = join(options.logDir, `ioreqd-${(guest.name ?? String(guest.domid)).replaceAll("/", "_")}.log`);
  mkdirSync(options.logDir, { recursive: true });
  const log = openSync(logFile, "a", 0o640);
  const argv = [join(PACKAGE_ROOT, "bin", "ioreqd"), "run", "--domid", String(guest.domid)];
  const child = spawn(process.execPath, argv, { detached: true, stdio: ["ignore", log, log], cwd: "/" });
  closeSync(log);
  const where = `${logFile} has its log`;
  try {
    await new Promise<void>((resolve, reject) => {
      const look = (): void => {
        keys.status().then(({ state, error }) => {
          if (state === "running") resolve();
          else if (state === "error") reject(failed(guest, error ?? "it gave no reason", where));
        }, reject);
      };
      child.once("error", (error) => reject(failed(guest, error.message, where)));
      child.once("exit", (code, signal) =>
        // What it wrote to xenstore before it ended says more than its exit code.
        keys
          .status()
          .then(({ error }) => reject(failed(guest, error ?? `it ended with ${signal ?? `exit code ${code}`}`, where))),
      );
      setTimeout(() => reject(timedOut(guest, options.timeoutMs, where)), options.timeoutMs).unref();
      keys.watch(look).catch(reject);
    });
  } catch (error) {
    child.kill("SIGKILL");
    throw error;
  }
  child.unref();
  return `process ${child.pid}, ${where}`;
}

function failed(guest: Guest, why: string, where: string): IoreqdError {
  return new IoreqdError("SERVICE_FAILED", `domain ${guest.domid} is not served: ${why} (${where})`, {
    domid: guest.domid,
  });
}

function timedOut(guest: Guest, ms: number, where: string): IoreqdError {
  return new IoreqdError("SERVICE_TIMEOUT", `domain ${guest.domid} is not served after ${ms / 1000} s (${where})`, {
    domid: guest.domid,
  });
}

interface Ended {
  readonly status: number | null;
  readonly stderr: string;
}

/** Run to the end; status null when it could not be started or took too long. */
function command(program: string, argv: readonly string[]): Promise<Ended> {
  return new Promise((resolve) => {
    let stderr = "";
    const child = spawn(program, argv, { stdio: ["ignore", "ignore", "pipe"], timeout: START_TIMEOUT_MS + GRACE_MS });
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      stderr += text;
    });
    child.once("error", (error) => resolve({ status: null, stderr: error.message }));
    child.once("close", (status) => resolve({ status, stderr }));
  });
}
