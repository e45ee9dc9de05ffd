// SPDX-License-Identifier: MIT
/** Requests to the agent over a guest's PV console, whose other end is a pty of dom0. */

import { closeSync, constants, openSync, writeSync } from "node:fs";
import tty from "node:tty";
import { IoreqdError } from "../../../src/base/errors.js";
import { encodeRequest, parseReply } from "./protocol.js";

/** Something may have been printed into the reply: ask again. The agent does not execute a request twice. */
const ASK_AGAIN_MS = 5_000;
const LONGEST_LINE = 1 << 20;

interface Pending {
  resolve(text: string): void;
  readonly again: NodeJS.Timeout;
  readonly late: NodeJS.Timeout;
}

export class AgentLink {
  readonly #fd: number;
  readonly #stream: tty.ReadStream;
  readonly #pending = new Map<number, Pending>();
  readonly #unsent: Buffer[] = [];
  #line = "";
  #nextId = Date.now() % 0x7fff_ffff;
  #retry: NodeJS.Timeout | null = null;

  readonly #againMs: number;

  /** `path`: the pty, as xenstore's /local/domain/N/console/tty names it. One link at a time. */
  constructor(path: string, againMs = ASK_AGAIN_MS) {
    this.#againMs = againMs;
    this.#fd = openSync(path, constants.O_RDWR | constants.O_NOCTTY | constants.O_NONBLOCK);
    this.#stream = new tty.ReadStream(openSync(path, constants.O_RDWR | constants.O_NOCTTY));
    this.#stream.setRawMode(true);
    this.#stream.on("data", (chunk: Buffer) => this.#hear(chunk.toString("latin1")));
    this.#stream.on("error", () => {});
  }

  /**
   * Run operations on a vCPU (or SHELL); the text of the reply. One at a time for each vCPU.
   * Rejects with GUEST_AGENT_SILENT after `timeoutMs`.
   */
  request(vcpu: number, operations: string, timeoutMs = 120_000): Promise<string> {
    const id = this.#nextId++;
    const line = Buffer.from(`${encodeRequest(id, vcpu, operations)}\n`, "latin1");
    return new Promise((resolve, reject) => {
      const again = setInterval(() => this.#write(line), this.#againMs);
      const late = setTimeout(() => {
        this.#forget(id);
        const words = operations.slice(0, 80);
        reject(
          new IoreqdError(
            "GUEST_AGENT_SILENT",
            `no answer from the guest's vCPU ${vcpu} to \`${words}\` in ${timeoutMs} ms`,
          ),
        );
      }, timeoutMs);
      this.#pending.set(id, { resolve, again, late });
      this.#write(line);
    });
  }

  close(): void {
    for (const id of [...this.#pending.keys()]) this.#forget(id);
    if (this.#retry !== null) clearTimeout(this.#retry);
    this.#stream.destroy();
    closeSync(this.#fd);
  }

  #hear(text: string): void {
    const lines = (this.#line + text).split("\n");
    this.#line = (lines.pop() as string).slice(-LONGEST_LINE);
    for (const line of lines) {
      const reply = parseReply(line);
      if (reply === null) continue;
      this.#pending.get(reply.id)?.resolve(reply.text);
      this.#forget(reply.id);
    }
  }

  #forget(id: number): void {
    const pending = this.#pending.get(id);
    if (pending === undefined) return;
    clearInterval(pending.again);
    clearTimeout(pending.late);
    this.#pending.delete(id);
  }

  #write(line: Buffer): void {
    this.#unsent.push(line);
    this.#flush();
  }

  /** The pty takes 4 KiB, and xenconsoled empties it as fast as the guest reads. */
  #flush(): void {
    if (this.#retry !== null) return;
    while (this.#unsent.length > 0) {
      const first = this.#unsent[0] as Buffer;
      let sent = 0;
      try {
        sent = writeSync(this.#fd, first);
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== "EAGAIN") throw error;
      }
      if (sent === first.length) {
        this.#unsent.shift();
        continue;
      }
      this.#unsent[0] = first.subarray(sent);
      this.#retry = setTimeout(() => {
        this.#retry = null;
        this.#flush();
      }, 5);
      return;
    }
  }
}
