// SPDX-License-Identifier: MIT
/** A simulated host with a xenstored, for what is started as libxl starts it: no parent to hold on to. */

import { type ChildProcess, spawn } from "node:child_process";
import { chmodSync, closeSync, existsSync, mkdirSync, openSync, readFileSync, watch, writeFileSync } from "node:fs";
import { join } from "node:path";
import { PACKAGE_ROOT } from "../../src/base/place.js";
import { SIM_DOMID, SimHost } from "../../src/sim/host.js";
import { SimXenstored } from "../../src/sim/xenstored.js";
import { type Finished, PROGRAM, withDirectory } from "./ioreqd.js";
import { endProcessesOf } from "./processes.js";

export const DEVICE_MODEL = join(PACKAGE_ROOT, "bin", "ioreqd-dm");
export const NODE = `/local/domain/0/device-model/${SIM_DOMID}/ioreqd`;

export class Launched {
  readonly #directory: string;
  readonly #env: NodeJS.ProcessEnv;
  readonly host: SimHost;
  readonly store: SimXenstored;
  readonly stateDir: string;
  /** Where the state of saved guests is kept. */
  readonly savedDir: string;
  /** Where libxl has QEMU write what it knows. */
  readonly libxlDir: string;
  readonly logFile: string;
  /** Holds the arguments of the QEMU that was handed over to, a line each. */
  readonly qemuArguments: string;

  constructor(directory: string, host: SimHost, store: SimXenstored) {
    this.#directory = directory;
    this.host = host;
    this.store = store;
    this.stateDir = join(directory, "state");
    this.savedDir = join(directory, "saved");
    this.libxlDir = join(directory, "libxl");
    this.logFile = join(directory, "log", "ioreqd-guest.log");
    this.qemuArguments = join(directory, "qemu-arguments");
    this.#env = {
      ...process.env,
      ...host.environment(),
      XENSTORED_PATH: store.path,
      IOREQD_CONFIG_DIR: join(directory, "etc"),
      IOREQD_LIBXL_DIR: this.libxlDir,
    };
    mkdirSync(this.libxlDir);
    delete this.#env["IOREQD_DOMID"];
    mkdirSync(join(directory, "etc", "guests"), { recursive: true });
    this.qemu(`printf '%s\\n' "$@" > ${this.qemuArguments}`);
    this.configure({});
  }

  /** Of processes that are started here. */
  get environment(): NodeJS.ProcessEnv {
    return this.#env;
  }

  /** Processes that are started from now on have a supervisor that listens there. */
  supervise(notifySocket: string): void {
    this.#env["NOTIFY_SOCKET"] = notifySocket;
  }

  /** What stands in place of QEMU: a shell script. */
  qemu(script: string): void {
    const path = join(this.#directory, "qemu");
    writeFileSync(path, `#!/bin/sh\n${script}\n`);
    chmodSync(path, 0o755);
  }

  /** ioreqd.conf. */
  configure(settings: Record<string, unknown>): void {
    const base = {
      qemu: join(this.#directory, "qemu"),
      supervisor: "none",
      logDir: join(this.#directory, "log"),
      stateDir: this.stateDir,
      savedDir: this.savedDir,
    };
    writeFileSync(
      join(this.#directory, "etc", "ioreqd.conf"),
      `// for tests\n${JSON.stringify({ ...base, ...settings })}`,
    );
  }

  guestFile(name: string, text: string): void {
    writeFileSync(join(this.#directory, "etc", "guests", name), text);
  }

  ioreqd(...args: string[]): Promise<Finished> {
    return this.#run(process.execPath, [PROGRAM, ...args]);
  }

  /** A process that serves the guest, and logs where one does that the launcher started; it ends with the guest. */
  runInBackground(...args: string[]): void {
    const log = openSync(this.logFile, "a");
    spawn(process.execPath, [PROGRAM, ...args], { env: this.#env, stdio: ["ignore", log, log] }).unref();
    closeSync(log);
  }

  /**
   * As libxl runs a device model for this guest: from a process of its own, which has xl's standard error, with
   * the device model's going into a file. The result's stderr is what xl's user sees.
   */
  async deviceModel(...args: string[]): Promise<Finished> {
    const argv = [DEVICE_MODEL, "-xen-domid", String(SIM_DOMID), "-name", "guest", ...args, "-m", "64"];
    const terminal = join(this.#directory, "terminal"); // a file, for Node.js gives sockets, which none can open
    const script = `exec 2> '${terminal}'; (exec "$@" 2> '${this.deviceModelLog}'); exit $?`;
    const { status, stdout } = await this.#run("sh", ["-c", script, "libxl", ...argv]);
    return { status, stdout, stderr: readFileSync(terminal, "utf8") };
  }

  get deviceModelLog(): string {
    return join(this.#directory, "qemu-dm-guest.log");
  }

  /** Of the guest, as xenstore has it. */
  get uuid(): string {
    return (this.store.read(`/local/domain/${SIM_DOMID}/vm`) ?? "").replace("/vm/", "");
  }

  key(name: string): string | null {
    return this.store.read(`${NODE}/${name}`);
  }

  log(): string {
    return existsSync(this.logFile) ? readFileSync(this.logFile, "utf8") : "";
  }

  /** Resolves when the log has it. */
  async logged(pattern: RegExp): Promise<void> {
    await new Promise<void>((resolve) => {
      const watcher = watch(join(this.#directory, "log"), () => look());
      const look = (): void => {
        if (!pattern.test(this.log())) return;
        watcher.close();
        resolve();
      };
      look();
    });
  }

  #run(program: string, args: string[]): Promise<Finished> {
    return new Promise((resolve) => {
      const child: ChildProcess = spawn(program, args, { env: this.#env, stdio: ["ignore", "pipe", "pipe"] });
      const finished = { status: null as number | null, stdout: "", stderr: "" };
      child.stdout?.on("data", (text) => {
        finished.stdout += String(text);
      });
      child.stderr?.on("data", (text) => {
        finished.stderr += String(text);
      });
      child.on("close", (status) => resolve({ ...finished, status }));
    });
  }
}

/** A host with a paused guest, and everything gone afterwards. */
export function withLaunched(act: (launched: Launched) => Promise<void>): Promise<void> {
  return withDirectory(async (directory) => {
    const host = new SimHost({ vcpus: 2 });
    const store = await SimXenstored.listen(join(directory, "xenstored"));
    store.introduce(SIM_DOMID, "guest");
    try {
      await act(new Launched(directory, host, store));
    } finally {
      await endProcessesOf(directory);
      store.close();
      host.close();
    }
  });
}
