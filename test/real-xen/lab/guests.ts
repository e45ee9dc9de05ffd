// SPDX-License-Identifier: MIT
/** Guests of the lab: their config for xl, their console, their end. */

import { existsSync, readFileSync } from "node:fs";
import path from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { IoreqdError } from "../../../src/base/errors.js";
import { encodeRequest, escapeBytes, parseReply, SHELL, unescapeBytes } from "../agent/protocol.js";
import { type Dom0, quote, type ShellResult } from "./dom0.js";
import { tail } from "./evidence.js";
import { COMMAND_LINE } from "./guest-image.js";
import { GUEST_DISK, GUEST_INITRAMFS, GUEST_KERNEL } from "./package.js";

export interface GuestConfig {
  readonly name: string;
  readonly vcpus?: number;
  /** Default: 128. The guest's kernel uses 112 MiB of it: see guest-image.ts. */
  readonly memoryMb?: number;
  /** More lines for xl.cfg. */
  readonly lines?: readonly string[];
  /** More of `device_model_args_hvm`, after those of the boot disk. */
  readonly deviceModelArgs?: readonly string[];
  /** Its boot disk, a file in dom0; GUEST_DISK unless told. */
  readonly disk?: string;
  /** Of type pvh, without firmware and without QEMU; more for its kernel's command line. */
  readonly pvh?: string;
  /** Created paused: `unpause` lets it go. */
  readonly paused?: boolean;
}

/** Four times what a guest with two vCPUs takes at its slowest on two idle cores. */
const BOOT_MS = 440_000;
const POLL_MS = 100;
/** While it waits, so often it looks whether the guest still lives. */
const LOOK_MS = 10_000;
const DEAD_LOOKS = 3;
const MOST_TRIES = 5;

/** The text of the guest's config for xl, in this lab. */
export function xlConfig(config: GuestConfig, { guestCpu, guestLines }: Dom0): string {
  const { name, vcpus = 1, memoryMb = 128, lines = [] } = config;
  return [
    ...[`name = "${name}"`, `memory = ${memoryMb}`, `vcpus = ${vcpus}`],
    // A processor that runs dom0 and HVM guests in turn ends every second guest with a triple fault under TCG.
    `cpus = "${guestCpu}"`,
    // Under TCG Xen must not intercept RDTSC: see docs/real-xen.md.
    'tsc_mode = "native"',
    ...['on_poweroff = "destroy"', 'on_reboot = "destroy"', 'on_crash = "preserve"'],
    ...(config.pvh === undefined ? hvm(config) : pvh(config.pvh)),
    ...lines,
    guestLines,
  ].join("\n");
}

const pvh = (commandLine: string): string[] => [
  ...['type = "pvh"', `kernel = "${GUEST_KERNEL}"`, `ramdisk = "${GUEST_INITRAMFS}"`],
  `cmdline = "${COMMAND_LINE} ${commandLine}"`,
];

function hvm(config: GuestConfig): string[] {
  const { deviceModelArgs = [] } = config;
  const disk = ["-drive", `if=none,id=boot,file=${config.disk ?? GUEST_DISK},format=raw,readonly=on`];
  const args = [...disk, "-device", "virtio-blk-pci,drive=boot,addr=0x8,bootindex=0", ...deviceModelArgs];
  return [
    ...['type = "hvm"', 'boot = "c"', 'vga = "none"', "vnc = 0", "sdl = 0", "usb = 0", "nographic = 1"],
    `device_model_args_hvm = [ ${args.map((arg) => `"${arg}"`).join(", ")} ]`,
  ];
}

export class Guest {
  readonly name: string;
  readonly domid: number;
  readonly #dom0: Dom0;
  /** Of the console's log: what was there before belongs to a guest of the same name that has gone. */
  readonly #consoleStart: number;
  /** The name that it had when its console was opened. */
  readonly #consoleName: string;
  #nextId = Date.now() % 0x7fff_ffff;
  /** Settles when the commands that were asked for have ended. */
  #shell: Promise<unknown> = Promise.resolve();
  /** The name of its console's other end. */
  #terminal: Promise<ShellResult> | null = null;

  private constructor(dom0: Dom0, name: string, domid: number, consoleStart: number, consoleName = name) {
    this.#dom0 = dom0;
    this.name = name;
    this.domid = domid;
    this.#consoleStart = consoleStart;
    this.#consoleName = consoleName;
  }

  static async create(dom0: Dom0, config: GuestConfig): Promise<Guest> {
    const place = `/var/tmp/${config.name}.cfg`;
    const log = consoleLog(dom0, config.name);
    const before = existsSync(log) ? readFileSync(log).length : 0;
    // One command: a shell is dear here.
    const { stdout } = await dom0.sh(
      `printf %s ${quote(xlConfig(config, dom0))} > ${quote(place)} &&
       xl create -q ${config.paused ? "-p " : ""}${quote(place)} && xl domid ${config.name}`,
      { timeoutMs: BOOT_MS },
    );
    return new Guest(dom0, config.name, Number(stdout), before);
  }

  /** One that runs already, or null. `consoleName`: what it was called at first, as xl calls one that is migrated. */
  static async running(dom0: Dom0, name: string, consoleName = name): Promise<Guest | null> {
    const { status, stdout } = await dom0.sh(`xl domid ${name}`, { check: false });
    return status === 0 ? new Guest(dom0, name, Number(stdout), 0, consoleName) : null;
  }

  /** All that came over the console so far. */
  console(): string {
    const log = consoleLog(this.#dom0, this.#consoleName);
    if (!existsSync(log)) return "";
    return readFileSync(log).subarray(this.#consoleStart).toString().replaceAll("\r", "");
  }

  async unpause(): Promise<void> {
    await this.#dom0.sh(`xl unpause ${this.domid}`);
  }

  /** The guest's userland is there, and takes commands. */
  async booted(): Promise<void> {
    await this.waitFor(/GUEST ready/, BOOT_MS);
  }

  /**
   * Wait for something on the console, counted from `from`. LAB_TIMEOUT and LAB_GUEST_DIED have the console's last
   * lines.
   */
  async waitFor(pattern: RegExp, timeoutMs = 60_000, from = 0): Promise<RegExpExecArray> {
    const deadline = Date.now() + timeoutMs;
    let nextLook = Date.now() + LOOK_MS;
    let deadLooks = 0;
    for (;;) {
      const found = pattern.exec(this.console().slice(from));
      if (found !== null) return found;
      if (Date.now() > deadline) throw this.#failure("LAB_TIMEOUT", `${pattern} within ${timeoutMs / 1000} s`);
      if (Date.now() > nextLook) {
        nextLook = Date.now() + LOOK_MS;
        const state = await this.state();
        // One that reboots is not there, or shut down, for a moment.
        deadLooks = state === null || /[sc]/.test(state) ? deadLooks + 1 : 0;
        if (deadLooks === DEAD_LOOKS) {
          throw this.#failure("LAB_GUEST_DIED", `${pattern}: its state in xl list is ${state ?? "no more"}`);
        }
      }
      // A file that another machine's process appends to: there is no event to wait for.
      await pause(POLL_MS);
    }
  }

  /** Wait for what the guest's firmware prints, which goes to Xen's console: hvmloader places BARs, SeaBIOS boots. */
  async firmwareSays(pattern: RegExp, timeoutMs = 100_000): Promise<void> {
    const deadline = Date.now() + timeoutMs;
    const said = (): string =>
      readFileSync(this.#dom0.files.serial, "latin1")
        .split("\n")
        .filter((line) => line.startsWith(`(d${this.domid})`))
        .join("\n");
    while (!pattern.test(said())) {
      if (Date.now() > deadline) {
        const message = `the firmware of guest ${this.name} did not print ${pattern} within ${timeoutMs / 1000} s`;
        throw new IoreqdError("LAB_TIMEOUT", `${message}. It said:\n${said().split("\n").slice(-20).join("\n")}`);
      }
      await pause(POLL_MS);
    }
  }

  /** As xl list shows it (r, b, p, s, c, d), without the dashes; null when there is no domain of this name. */
  async state(): Promise<string | null> {
    const { status, stdout } = await this.#dom0.sh(`xl list ${this.name}`, { check: false });
    const columns = stdout.trim().split("\n").at(-1)?.trim().split(/\s+/) ?? [];
    return status === 0 ? (columns.at(-2)?.replaceAll("-", "") ?? null) : null;
  }

  #failure(code: string, what: string): IoreqdError {
    const end = tail(consoleLog(this.#dom0, this.#consoleName), 20);
    return new IoreqdError(code, `guest ${this.name} did not print ${what}. Its console:\n${end}`, {
      guest: this.name,
    });
  }

  /**
   * A command in the guest's shell, by the agent; what it printed, and its status. Those that are asked for meanwhile
   * wait for it. Throws as waitFor does.
   */
  sh(command: string, timeoutMs = 120_000): Promise<{ status: number; output: string }> {
    const run = this.#shell.then(() => this.#run(command, timeoutMs));
    this.#shell = run.catch(() => {});
    return run;
  }

  /** A command whose end nobody waits for: the guest may not live to tell. */
  async tell(command: string): Promise<void> {
    await this.#send(this.#nextId++, command);
  }

  async #run(command: string, timeoutMs: number): Promise<{ status: number; output: string }> {
    const from = this.console().length;
    const id = this.#nextId++;
    await this.#send(id, command);
    const line = new RegExp(`@<${id.toString(16)} .*\n`);
    let reply = parseReply((await this.waitFor(line, timeoutMs, from))[0].trimEnd());
    // The kernel printed into the line. The agent says it again, and does not do it again.
    for (let tries = 0; reply === null && tries < MOST_TRIES; tries += 1) {
      const again = this.console().length;
      await this.#send(id, command);
      reply = parseReply((await this.waitFor(line, timeoutMs, again))[0].trimEnd());
    }
    const [status = "", output = ""] = (reply?.text ?? "").split(" ");
    return { status: Number.parseInt(status, 16), output: unescapeBytes(output) };
  }

  async #send(id: number, command: string): Promise<void> {
    const request = encodeRequest(id, SHELL, `sh ${escapeBytes(command)}`);
    this.#terminal ??= this.#dom0.sh(`xenstore-read /local/domain/${this.domid}/console/tty`);
    await this.#dom0.write((await this.#terminal).stdout.trim(), `${request}\n`);
  }

  async destroy(): Promise<void> {
    await this.#dom0.sh(`xl destroy ${this.domid}`);
  }
}

function consoleLog(dom0: Dom0, name: string): string {
  return path.join(dom0.files.consoles, `guest-${name}.log`);
}
