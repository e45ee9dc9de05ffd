// SPDX-License-Identifier: MIT
/**
 * A simulated Xen host in this process: a socket that the simulated client libraries
 * connect to, and one guest, domain 1, which starts paused.
 */

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { IoreqdError, messageOf } from "../base/errors.js";
import { XENSIM_LIBRARIES } from "../base/place.js";
import { type Addon, loadAddon, type SimCounters, type SimMmcfgWindow, type SimRange } from "./addon.js";

export type SimArch = "x86" | "arm";

/** The one domain of a simulated host. */
export const SIM_DOMID = 1;

/** XENSIM_SPIN_US: longer than a device model that polls takes to answer. */
const SPIN_US = 50;
const PAGE = 4096;

export interface SimHostOptions {
  /** Unix socket to listen on; at most 107 bytes, and not there yet. Without one: in a new directory, removed by close(). */
  socketPath?: string;
  /** 1 to 128; 1 unless told. */
  vcpus?: number;
  /** Guest RAM in bytes, a multiple of 4096, below 4 GiB; 64 MiB unless told. */
  memory?: number;
  arch?: SimArch;
  /** Microseconds a vCPU spins on its event channel before it sleeps; 50 unless told, 0 for none. */
  spinUs?: number;
}

export class SimHost {
  readonly socketPath: string;
  readonly vcpus: number;
  /** Guest RAM in bytes; guest-physical 0 is its first. */
  readonly memory: number;
  readonly arch: SimArch;
  /** Names this host in all threads of this process. */
  readonly id: number;
  readonly #addon: Addon;
  readonly #directory: string | null;
  #ram: Uint8Array | null = null;
  #domainDestroyed = false;
  #closed = false;

  /** Start a host. Throws XENSIM_NOT_BUILT, BAD_VALUE and HOST_START_FAILED. */
  constructor(options: SimHostOptions = {}) {
    this.vcpus = inRange("vCPUs", options.vcpus ?? 1, 1, 128);
    this.memory = inRange("bytes of memory", options.memory ?? 64 << 20, PAGE, 2 ** 32 - PAGE);
    this.arch = options.arch ?? "x86";
    if (this.memory % PAGE !== 0) {
      throw new IoreqdError("BAD_VALUE", `${this.memory} bytes of memory: whole pages of 4096 are possible`, {
        memory: this.memory,
      });
    }
    this.#addon = loadAddon();
    this.#directory = options.socketPath === undefined ? mkdtempSync(join(tmpdir(), "ioreqd-sim-")) : null;
    this.socketPath = options.socketPath ?? join(this.#directory as string, "xensim");
    try {
      const arch = this.arch === "arm" ? 1 : 0;
      this.id = this.#addon.start(this.socketPath, this.vcpus, this.memory, arch, options.spinUs ?? SPIN_US);
    } catch (error) {
      this.#removeDirectory();
      throw new IoreqdError(
        "HOST_START_FAILED",
        `start a simulated host on ${messageOf(error)}`,
        { socket: this.socketPath },
        { cause: error },
      );
    }
  }

  /** What a device model's environment needs to run on this host instead of on a real one. */
  environment(base: NodeJS.ProcessEnv = process.env): Record<string, string> {
    const before = base.LD_LIBRARY_PATH;
    return {
      XENSIM_SOCKET: this.socketPath,
      LD_LIBRARY_PATH:
        before === undefined || before === "" ? XENSIM_LIBRARIES : `${XENSIM_LIBRARIES}${delimiter}${before}`,
      IOREQD_DOMID: String(SIM_DOMID),
    };
  }

  /** Guest RAM itself, not a copy; good for Atomics, though not for Atomics.wait. */
  get ram(): Uint8Array {
    this.#ram ??= new Uint8Array(this.#addon.ram(this.id));
    return this.#ram;
  }

  unpause(): void {
    this.#addon.unpause(this.id);
  }

  /** Returns when no vCPU runs. Blocks while one is in Xen, though not while it waits for a device model. */
  pause(): void {
    this.#addon.pause(this.id);
  }

  /** Resolves to true when a server is enabled, to false after timeoutMs (-1: never) or when the host stops. */
  waitServerEnabled(timeoutMs = -1): Promise<boolean> {
    return this.#addon.waitServerEnabled(this.id, timeoutMs);
  }

  /** As `xl destroy`: dm ops fail with ESRCH, vCPUs stop. */
  destroyDomain(): void {
    this.#addon.destroyDomain(this.id);
    this.#domainDestroyed = true;
  }

  get domainDestroyed(): boolean {
    return this.#domainDestroyed;
  }

  /** Every blocked vCPU returns, and clients see the socket close. Figures can be read until close(). */
  stop(): void {
    this.#addon.stop(this.id);
  }

  /** Stop, and let go. A second call does nothing. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#addon.close(this.id);
    this.#ram = null;
    this.#removeDirectory();
  }

  /** Start a guest program in C (see xensim_guest_main_fn), a thread for each vCPU. Throws GUEST_LOAD_FAILED. */
  runProgram(path: string, onExit: (vcpu: number, status: number) => void): number {
    try {
      return this.#addon.runProgram(this.id, path, onExit);
    } catch (error) {
      throw new IoreqdError(
        "GUEST_LOAD_FAILED",
        `load the guest program ${path}: ${messageOf(error)}`,
        { path },
        { cause: error },
      );
    }
  }

  counters(): SimCounters {
    return this.#addon.counters(this.id);
  }

  /** What a server has registered now; empty for an id that is not in use. */
  ranges(server: number): SimRange[] {
    return this.#addon.ranges(this.id, server);
  }

  /** The MMCONFIG windows that Xen knows of, one for each segment that has one. */
  mmcfgWindows(): SimMmcfgWindow[] {
    return this.#addon.mmcfgWindows(this.id);
  }

  /** Xen's log, oldest line first. */
  console(): string {
    return this.#addon.console(this.id);
  }

  /** Xen's words if the domain was crashed. */
  get crashReason(): string | null {
    return this.#addon.crashReason(this.id);
  }

  /** SHUTDOWN_poweroff 0, reboot 1, suspend 2, crash 3; null while the domain runs. */
  get shutdownCode(): number | null {
    const code = this.#addon.shutdownCode(this.id);
    return code < 0 ? null : code;
  }

  /** Pages of the guest and of its ioreq servers that other processes have mapped now. */
  get mappedPages(): number {
    return this.#addon.mappedPages(this.id);
  }

  /** Tell every server with a ring that the guest set its clock. */
  sendTimeoffset(seconds: number): void {
    this.#addon.sendTimeoffset(this.id, seconds);
  }

  /** Bits 27:24 of CF8 become bits 11:8 of the register, as on AMD family 10h. Off at first. */
  setCf8Extension(on: boolean): void {
    this.#addon.setCf8Extension(this.id, on);
  }

  gsiLevel(gsi: number): boolean {
    return this.#addon.gsiLevel(this.id, gsi);
  }

  gsiEdges(gsi: number): number {
    return this.#addon.gsiEdges(this.id, gsi);
  }

  /** Start or end log-dirty mode, as live migration does. */
  logDirty(on: boolean): void {
    this.#addon.logDirty(this.id, on);
  }

  /** Frames reported as modified since the last call, at most 65536. Guest writes are not among them. */
  takeDirty(): number[] {
    return this.#addon.takeDirty(this.id);
  }

  #removeDirectory(): void {
    if (this.#directory !== null) rmSync(this.#directory, { recursive: true, force: true });
  }
}

function inRange(what: string, value: number, first: number, last: number): number {
  if (Number.isInteger(value) && value >= first && value <= last) return value;
  throw new IoreqdError("BAD_VALUE", `${value} ${what}: ${first} to ${last} are possible`, { what, value });
}
