// SPDX-License-Identifier: MIT
/** Commands and files in dom0 of a running lab. */

import { copyFileSync, mkdirSync, readFileSync, rmSync } from "node:fs";
import net from "node:net";
import path from "node:path";
import { IoreqdError } from "../../../src/base/errors.js";
import { evidence } from "./evidence.js";
import { type LabFiles, labFiles } from "./lab-files.js";
import { encodeFrame, type Frame, frameReader } from "./wire.js";

export interface ShellOptions {
  /** Default: 120 s. The command's session is then killed. */
  readonly timeoutMs?: number;
  /** Reject with LAB_COMMAND_FAILED when the status is not 0. Default: true. */
  readonly check?: boolean;
  /** Output as it comes; it is in the result all the same. */
  readonly onOutput?: (text: string, stream: "stdout" | "stderr") => void;
}

export interface ShellResult {
  /** 128 + n when signal n ended it, as a shell says it. */
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

interface Pending {
  readonly stdout: Buffer[];
  readonly stderr: Buffer[];
  readonly onOutput: ShellOptions["onOutput"];
  done(status: number): void;
  lost(reason: string): void;
}

const SIGKILL = 9;
const SIGTERM = 15;

/** A killed command still has this long to say so. */
const LAST_WORDS_MS = 5_000;

export class Dom0 {
  readonly files: LabFiles;
  readonly #socket: net.Socket;
  readonly #pending = new Map<number, Pending>();
  #nextId = 1;
  #gone: string | null = null;

  private constructor(files: LabFiles, socket: net.Socket) {
    this.files = files;
    this.#socket = socket;
    socket.on(
      "data",
      frameReader((frame) => this.#received(frame)),
    );
    socket.on("close", () => this.#lost("the lab's keeper has gone"));
    socket.on("error", () => {});
  }

  /** The lab in this directory. Throws LAB_GONE when there is none. What is run before dom0 is up waits for it. */
  static connect(directory: string): Promise<Dom0> {
    const files = labFiles(directory);
    return new Promise((resolve, reject) => {
      const socket = net.connect(files.socket);
      socket.once("error", (error) => {
        reject(new IoreqdError("LAB_GONE", `no lab answers at ${files.socket}: ${error.message}`, { directory }));
      });
      socket.once("connect", () => resolve(new Dom0(files, socket)));
    });
  }

  /** The last processor of the machine: the others are dom0's (qemu.ts). */
  get guestCpu(): number {
    const plan = JSON.parse(readFileSync(this.files.plan, "utf8")) as string[];
    return Number(plan[plan.indexOf("-smp") + 1]) - 1;
  }

  /** For the xl config of every guest. */
  get guestLines(): string {
    return readFileSync(this.files.guestLines, "utf8");
  }

  async endGuests(): Promise<void> {
    const all = "xl list | awk 'NR > 1 && $2 > 0 { print $2 }'";
    await this.sh(`for domid in $(${all}); do xl destroy $domid; done`, { check: false });
  }

  /**
   * Run a command with bash in dom0. Rejects with LAB_COMMAND_FAILED (see `check`), with LAB_TIMEOUT and the last lines
   * of every log when it takes longer, and with LAB_GONE when the lab ends, which says why.
   */
  sh(command: string, options: ShellOptions = {}): Promise<ShellResult> {
    return this.#ask("R", command, command, options);
  }

  /** Write to a file of dom0 that is there, a terminal for instance. Rejects as `sh` does, which costs ten times of this. */
  async write(file: string, text: string): Promise<void> {
    await this.#ask("W", `${file}\0${text}`, `a write of ${text.length} bytes to ${file}`);
  }

  #ask(kind: string, payload: string, command: string, options: ShellOptions = {}): Promise<ShellResult> {
    const { timeoutMs = 120_000, check = true, onOutput } = options;
    const id = this.#nextId++;
    return new Promise((resolve, reject) => {
      if (this.#gone !== null) {
        // Who waited when it ended was told all of it.
        reject(this.#goneError(this.#gone.split("\n", 1)[0] as string));
        return;
      }
      const stdout: Buffer[] = [];
      const stderr: Buffer[] = [];
      let late = false;
      const settle = (outcome: () => void) => {
        clearTimeout(timer);
        this.#pending.delete(id);
        outcome();
      };
      const said = () => `${Buffer.concat(stdout)}${Buffer.concat(stderr)}`.slice(-4_000);
      const tooLate = () => {
        const message = `in dom0, \`${command}\` took longer than ${timeoutMs / 1000} s. It said:\n${said()}`;
        settle(() => reject(new IoreqdError("LAB_TIMEOUT", `${message}\n${evidence(this.files)}`, { command })));
      };
      let timer = setTimeout(() => {
        late = true;
        this.#send("K", id, Buffer.from([SIGTERM]));
        timer = setTimeout(() => {
          this.#send("K", id, Buffer.from([SIGKILL]));
          timer = setTimeout(tooLate, LAST_WORDS_MS);
        }, LAST_WORDS_MS);
      }, timeoutMs);
      this.#pending.set(id, {
        stdout,
        stderr,
        onOutput,
        lost: (reason) => settle(() => reject(this.#goneError(reason))),
        done: (status) => {
          const result = { status, stdout: `${Buffer.concat(stdout)}`, stderr: `${Buffer.concat(stderr)}` };
          if (late) tooLate();
          else if (check && status !== 0) {
            const message = `in dom0, \`${command}\`: exit status ${status}. It said:\n${said()}`;
            settle(() => reject(new IoreqdError("LAB_COMMAND_FAILED", message, { command, ...result })));
          } else settle(() => resolve(result));
        },
      });
      this.#send(kind, id, payload);
    });
  }

  /** Copy a file of the host to a path in dom0. */
  async put(localPath: string, dom0Path: string, options: ShellOptions = {}): Promise<void> {
    const name = this.#place(dom0Path);
    copyFileSync(localPath, path.join(this.files.transfer, name));
    const target = quote(dom0Path);
    await this.sh(`mkdir -p "$(dirname ${target})" && mv -f /share/transfer/${name} ${target}`, options);
  }

  /** Copy a file of dom0 to the host. */
  async get(dom0Path: string, localPath: string, options: ShellOptions = {}): Promise<void> {
    const name = this.#place(dom0Path);
    await this.sh(`cp ${quote(dom0Path)} /share/transfer/${name}`, options);
    const passing = path.join(this.files.transfer, name);
    copyFileSync(passing, localPath);
    rmSync(passing, { force: true });
  }

  /** Ends the lab, not only this connection. Resolves when the keeper has closed it. */
  endLab(): Promise<void> {
    if (this.#gone !== null) return Promise.resolve();
    return new Promise((resolve) => {
      this.#socket.once("close", () => resolve());
      this.#send("S", 0);
    });
  }

  /** Why there is no lab any more; null while there is. */
  get ended(): string | null {
    return this.#gone;
  }

  close(): void {
    this.#socket.destroy();
  }

  #place(dom0Path: string): string {
    mkdirSync(this.files.transfer, { recursive: true });
    return `${process.pid}-${this.#nextId++}-${path.basename(dom0Path).replace(/[^\w.-]/g, "_")}`;
  }

  #send(kind: string, id: number, payload: Buffer | string = ""): void {
    this.#socket.write(encodeFrame(kind, id, payload));
  }

  #received({ kind, id, payload }: Frame): void {
    if (kind === "L") {
      this.#lost(payload.toString());
      return;
    }
    const pending = this.#pending.get(id);
    if (pending === undefined) return;
    if (kind === "X") {
      const status = payload.readInt32LE(0);
      pending.done(status < 0 ? 128 - status : status);
    } else {
      const stream = kind === "O" ? "stdout" : "stderr";
      pending[stream].push(Buffer.from(payload));
      pending.onOutput?.(payload.toString(), stream);
    }
  }

  #lost(reason: string): void {
    this.#gone ??= reason;
    for (const pending of [...this.#pending.values()]) pending.lost(this.#gone);
  }

  #goneError(reason: string): IoreqdError {
    return new IoreqdError("LAB_GONE", `the lab has ended: ${reason}`);
  }
}

/** One word for a shell. */
export function quote(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}
